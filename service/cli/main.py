"""The `tastestream` command and its groups."""

import sys

import typer
from rich.markup import escape

from model_store.errors import UserError
from service.cli import (
    data,
    dead_letters,
    encoder,
    evaluate,
    events,
    items,
    keys,
    models,
    pictures,
    processes,
    recommendations,
    replay,
    summaries,
    tenants,
    train,
    users,
)
from service.cli.terminal import err
from service.errors import TastestreamError

app = typer.Typer(
    name="tastestream",
    help="Online recommendations by a multimodal LLM that follows what each user wants now.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
_RUN, _DATA, _MODELS = "Run the service", "Manage its data", "Train and evaluate models"
for process in (processes.up, processes.gateway, processes.worker, encoder.encoder):
    app.command(rich_help_panel=_RUN)(process)
app.command("gateway-process", hidden=True)(processes.gateway_process)
for name, group in {
    "items": items.app,
    "events": events.app,
    "recommendations": recommendations.app,
    "users": users.app,
    "summaries": summaries.app,
    "pictures": pictures.app,
    "dead-letters": dead_letters.app,
    "keys": keys.app,
    "tenants": tenants.app,
}.items():
    app.add_typer(group, name=name, rich_help_panel=_DATA)
app.add_typer(data.app, name="data", rich_help_panel=_MODELS)
app.command(rich_help_panel=_MODELS)(train.train)
app.command(rich_help_panel=_MODELS)(evaluate.evaluate)
app.command(rich_help_panel=_MODELS)(replay.replay)
app.add_typer(models.app, name="models", rich_help_panel=_MODELS)


def main() -> None:
    """Run the command. An error that a user can fix ends in one sentence, not in a traceback."""
    try:
        app()
    except (UserError, TastestreamError) as error:
        _fail(str(error))
    except OSError as error:
        if error.filename is None:
            raise
        _fail(f"{error.filename}: {error.strerror}")
    except UnicodeEncodeError as error:
        if error.encoding != "utf-8":
            raise
        # Arguments may be any bytes; ids are UTF-8.
        _fail(f"not valid UTF-8: {error.object!a}")
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(message: str) -> None:
    err.print(f"[red]error:[/] {escape(message)}", soft_wrap=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
