"""The roof: the `tastestream` command."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from model_store.registry import Registry
from service.settings import PREFIX, Settings

app = typer.Typer(
    name="tastestream",
    help="Online recommendations by a multimodal LLM that follows what each user wants now.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
models_app = typer.Typer(
    no_args_is_help=True, help="The model store: list, show, promote and roll back model versions."
)
app.add_typer(models_app, name="models")

out = Console()
err = Console(stderr=True)

Store = Annotated[
    Path | None,
    typer.Option("--store", help="Folder of the model store.", show_default="models in the data folder"),
]


def settings_or_exit() -> Settings:
    """Read the settings; on a wrong one, name it and its remedy and exit with 2."""
    try:
        return Settings()
    except ValidationError as error:
        for problem in error.errors():
            path = "__".join(str(part).upper() for part in problem["loc"])
            name = f"{PREFIX}{path}: " if path else ""
            err.print(f"[red]error:[/] {escape(name)}{escape(problem['msg'])}", soft_wrap=True)
        raise typer.Exit(2) from None


def store_folder(store: Path | None) -> Path:
    settings = settings_or_exit()
    return store or settings.model_store or settings.data_dir / "models"


@app.command()
def up(
    demo: Annotated[
        bool, typer.Option("--demo", help="Load the demo catalogue and play a few users through it.")
    ] = False,
    models: Annotated[
        str, typer.Option(help="Serve NAME-summarizer and NAME-ranker of the model store; `demo` is built in.")
    ] = "demo",
    store: Store = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="State, pictures and logs.", show_default="TASTESTREAM_DATA_DIR or .tastestream")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port of the gateway.", show_default="TASTESTREAM_PORT or 8000")
    ] = None,
) -> None:
    """Start everything on this machine and serve until Ctrl-C.

    Redis is embedded unless `TASTESTREAM_REDIS_URL` names one; vLLM servers are started for
    each of `TASTESTREAM_SUMMARIZER__URL` and `TASTESTREAM_RANKER__URL` that is not set.
    """
    from service.local.up import run_up

    settings = settings_or_exit()
    changes = {"data_dir": data_dir, "port": port, "model_store": store}
    settings = settings.model_copy(update={key: value for key, value in changes.items() if value is not None})
    raise typer.Exit(asyncio.run(run_up(settings, models=models, demo=demo, console=out)))


@app.command()
def serve() -> None:
    """Run one gateway against `TASTESTREAM_REDIS_URL` and the model URLs. Starts nothing else."""
    from service.app import run_gateway

    run_gateway(settings_or_exit())


@app.command()
def work() -> None:
    """Run one background worker: folds events into summaries and describes pictures. Starts nothing else."""
    from workers.run import run_worker

    run_worker(settings_or_exit())


@models_app.command("list")
def models_list(store: Store = None) -> None:
    """List the versions in the store, with what they do and how they were measured."""
    registry = Registry(store_folder(store))
    table = Table("version", "role", "alias", "parameters", "trained on", "evaluation", box=None)
    for manifest in registry.list():
        aliases = [alias for alias, version in registry.aliases(manifest.name).items() if version == manifest.version]
        measured = ", ".join(
            f"{key} {value}" for key, value in manifest.evaluation.items() if not isinstance(value, dict)
        )
        parameters = f"{manifest.training.parameters:,}" if manifest.training.parameters else ""
        table.add_row(manifest.id, manifest.role, ", ".join(aliases), parameters, manifest.training.data, measured)
    out.print(table if table.row_count else f"no versions in {registry.root}")


@models_app.command("show")
def models_show(
    version: Annotated[str, typer.Argument(help="`name@1`, `name@production`, or `name`.")], store: Store = None
) -> None:
    """Print one version's manifest."""
    out.print(Registry(store_folder(store)).get(version).dump(), markup=False, highlight=False, end="")


@models_app.command("promote")
def models_promote(
    name: Annotated[str, typer.Argument(help="The model's name, without a version.")],
    version: Annotated[int, typer.Argument(help="The version's number.", min=1)],
    alias: Annotated[str, typer.Option(help="What to point at it: production, canary, shadow ...")] = "production",
    store: Store = None,
) -> None:
    """Point an alias at a version. Running services take it up at their next start."""
    Registry(store_folder(store)).promote(name, version, alias)
    out.print(f"{name}@{alias} is now {name}@{version}")


@models_app.command("rollback")
def models_rollback(
    name: Annotated[str, typer.Argument(help="The model's name, without a version.")],
    alias: Annotated[str, typer.Option(help="The alias to point back.")] = "production",
    store: Store = None,
) -> None:
    """Point an alias back at the version it had before."""
    version = Registry(store_folder(store)).rollback(name, alias)
    out.print(f"{name}@{alias} is {name}@{version} again")


def main() -> None:
    """Run the command; errors that a user can mend end in one sentence, not in a traceback."""
    from model_store.manifest import ManifestError
    from model_store.processes import ChildFailed

    try:
        app()
    except (ManifestError, ChildFailed, FileNotFoundError) as error:
        err.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
