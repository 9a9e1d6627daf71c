"""The roof: the `tastestream` command."""

import asyncio
import os
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from model_store.demo import MODELS
from model_store.errors import UserError
from model_store.registry.manifest import Manifest
from model_store.registry.registry import Registry
from model_store.signals import Signals
from service.cli import items
from service.cli.options import Layout
from service.cli.state_commands import dead_letters_app, erase, export, rebuild_summaries
from service.cli.terminal import err, out, settings_or_exit
from service.errors import TastestreamError
from service.local.ports import require_free_port
from service.settings import PREFIX

app = typer.Typer(
    name="tastestream",
    help="Online recommendations by a multimodal LLM that follows what each user wants now.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(no_args_is_help=True, help="Data for training and replay: import it from other layouts.")
models_app = typer.Typer(
    no_args_is_help=True, help="The model store: list, show, promote and roll back model versions."
)

Insecure = Annotated[
    bool, typer.Option("--insecure", help="Serve without API keys on an address that other machines can reach.")
]
Store = Annotated[
    Path | None,
    typer.Option("--store", help="Folder of the model store.", show_default="models in the data folder"),
]


class Negatives(StrEnum):
    uniform = "uniform"
    popular = "popular"


def store_folder(store: Path | None) -> Path:
    settings = settings_or_exit()
    return store or settings.models_folder


def registries(store: Path | None) -> tuple[Registry, Registry]:
    """The user's model store and the one that comes with the package."""
    return Registry(store_folder(store)), Registry(MODELS)


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
    insecure: Insecure = False,
) -> None:
    """Start everything on this machine and serve until Ctrl-C.

    Redis is embedded unless `TASTESTREAM_REDIS_URL` names one; vLLM servers are started for
    each of `TASTESTREAM_SUMMARIZER__URL` and `TASTESTREAM_RANKER__URL` that is not set.
    """
    from service.local.up import run_up

    settings = settings_or_exit()
    changes = {"data_dir": data_dir, "port": port, "model_store": store, "insecure": insecure or None}
    settings = settings.model_copy(update={key: value for key, value in changes.items() if value is not None})
    asyncio.run(run_up(settings, models=models, demo=demo, console=out))


@app.command()
def serve(insecure: Insecure = False) -> None:
    """Run one gateway against `TASTESTREAM_REDIS_URL` and the model URLs. Starts nothing else.

    With `TASTESTREAM_API_KEYS_FILE`, callers need a key. Without it, other machines are served only with `--insecure`.
    """
    from service.app import run_gateway

    settings = settings_or_exit()
    if insecure:
        settings = settings.model_copy(update={"insecure": True})
    require_free_port(settings.host, settings.port, f"{PREFIX}PORT")
    run_gateway(settings)


@app.command()
def work() -> None:
    """Run one background worker: folds events into summaries and describes pictures. Starts nothing else."""
    from workers.run import run_worker

    run_worker(settings_or_exit())


@app.command("sweep-pictures")
def sweep_pictures(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be removed.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also when the catalogue is empty.")] = False,
) -> None:
    """Remove stored pictures that no item names any more.

    The workers do this now and then by themselves. Pictures younger than
    `TASTESTREAM_PICTURES__GRACE_S` stay: their items may be on the way. A picture folder belongs to
    one Redis: run it against the one whose items the pictures are.
    """
    from service.cli.pictures import sweep_command

    asyncio.run(sweep_command(settings_or_exit(), dry_run=dry_run, force=force, console=out))


@app.command()
def replay(
    data: Annotated[Path, typer.Option("--data", help="A dataset folder: items.jsonl, interactions.csv, images/.")],
    url: Annotated[str, typer.Option(help="The running service.")] = "http://127.0.0.1:8000",
    users: Annotated[
        int | None, typer.Option(help="Ask about this many users.", show_default="all of the split")
    ] = None,
    negatives: Annotated[Negatives, typer.Option(help="How the 20 other candidates are drawn.")] = Negatives.popular,
    seed: Annotated[int, typer.Option(help="Which users and negatives are drawn.")] = 0,
    keep_users: Annotated[bool, typer.Option("--keep-users", help="Leave the replayed users in the service.")] = False,
    markdown: Annotated[Path | None, typer.Option(help="Also append the tables to this file.")] = None,
) -> None:
    """Play a dataset through a running service, over HTTP only, and measure what it recommends.

    Loads the catalogue, posts each held-out user's events in order, waits for the folds, then asks
    for the held-out last liked item among 20 others. Prints AUC, HR@5, NDCG@5 and MRR@5 with 95 %
    intervals beside popularity and ItemKNN on the same cases, and the latencies of both calls.
    Only users that training never sees are replayed.
    """
    from service.cli.replay import replay_command

    api_key = os.environ.get(f"{PREFIX}API_KEY")
    replay_command(data, url, users, negatives.value, seed, keep_users, api_key, markdown, out)


@app.command()
def train(
    data: Annotated[Path, typer.Option("--data", help="A dataset folder: items.jsonl, interactions.csv, images/.")],
    name: Annotated[
        str | None, typer.Option(help="The model family's name.", show_default="the data folder's name")
    ] = None,
    minutes: Annotated[float, typer.Option(help="Time to train for.", min=0.1)] = 35.0,
    steps: Annotated[
        int | None, typer.Option(help="Steps to train for, in place of a time: the same model on every machine.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights and examples.")] = 0,
    store: Store = None,
) -> None:
    """Train the small multimodal model from scratch on a dataset folder and register what comes out.

    Registers NAME-summarizer and NAME-ranker; `tastestream up --models NAME` serves them. One user
    in ten is never seen in training, so that `replay` can ask about them.
    """
    from service.cli.replay import train_command

    signals = Signals(settings_or_exit().signals.vocabulary())
    train_command(data, store_folder(store), name or data.resolve().name.lower(), minutes, steps, seed, signals, out)


# Here, because `--help` lists the commands in the order in which they were added.
app.command()(export)
app.command("rebuild-summaries")(rebuild_summaries)
app.command()(erase)
app.add_typer(items.app, name="items")
app.add_typer(dead_letters_app, name="dead-letters")
app.add_typer(data_app, name="data")
app.add_typer(models_app, name="models")


@data_app.command("import")
def import_data(
    source: Annotated[Path, typer.Argument(help="A file or a folder, as it was downloaded and unpacked.")],
    folder: Annotated[Path, typer.Argument(help="The dataset folder to write.")],
    layout: Layout = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the dataset that is there.")] = False,
) -> None:
    """Make a dataset folder, which `train` and `replay` read, of data in another layout.

    `tables`: items.csv and interactions.csv (or .tsv) whose columns have their usual names. `movielens`: any release.
    `amazon-2023`: meta_CATEGORY.jsonl with CATEGORY.jsonl or CATEGORY.csv. `microlens`: pairs, titles and covers.
    `product-feed`: a Google Merchant feed (TSV or XML), which has items only. Files may be compressed with gzip and of
    any common encoding. Rows that can't be used are listed with their line and reason.
    """
    from service.cli.data import data_import

    raise typer.Exit(data_import(source, folder, layout.value if layout else None, force=force, console=out))


@models_app.command("list")
def models_list(store: Store = None) -> None:
    """List the versions in the store, with what they do and how they were measured."""
    table = Table("version", "role", "alias", "parameters", "trained on", "evaluation", "store", box=None)
    for registry in registries(store):
        for manifest in registry.list():
            table.add_row(*_version_row(registry, manifest), registry.root)
    out.print(table)


def _version_row(registry: Registry, manifest: Manifest) -> Iterator[str]:
    named = registry.aliases(manifest.name)
    yield manifest.id
    yield manifest.role
    yield ", ".join(alias for alias, version in named.items() if version == manifest.version)
    yield f"{manifest.training.parameters:,}" if manifest.training.parameters else ""
    yield manifest.training.data
    yield ", ".join(f"{key} {value}" for key, value in manifest.evaluation.items() if isinstance(value, float))


@models_app.command("show")
def models_show(
    version: Annotated[str, typer.Argument(help="`name@1`, `name@production`, or `name`.")], store: Store = None
) -> None:
    """Print one version's manifest."""
    own, built_in = registries(store)
    name = version.partition("@")[0]
    registry = built_in if built_in.versions(name) and not own.versions(name) else own
    out.print(registry.get(version).dump(), markup=False, highlight=False, end="")


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
    try:
        app()
    except (UserError, TastestreamError) as error:
        err.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(1)
    except OSError as error:
        if error.filename is None:
            raise
        err.print(f"[red]error:[/] {escape(f'{error.filename}: {error.strerror}')}", soft_wrap=True)
        sys.exit(1)
    except UnicodeEncodeError as error:
        if error.encoding != "utf-8":
            raise
        # Python reads arguments of any bytes; ids are UTF-8.
        err.print(f"[red]error:[/] {escape(f'not valid UTF-8: {error.object!a}')}", soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
