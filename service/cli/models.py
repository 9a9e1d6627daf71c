"""`tastestream models`: the model store."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

from model_store.demo import MODELS
from model_store.registry.aliases import CANARY, PRODUCTION, SHADOW
from model_store.registry.manifest import Manifest
from model_store.registry.registry import Registry
from service.cli.audit import audited
from service.cli.finetuning import finetune
from service.cli.model_blend import refit_blend
from service.cli.model_embedders import embed, train_embedder
from service.cli.model_ope import ope
from service.cli.model_parts import fetch_parts, train_parts
from service.cli.model_probe import probe
from service.cli.model_retrieval import evaluate_retrieval
from service.cli.model_server import serve
from service.cli.model_store import Also, Name, Reference, ids_of_shared, own_store, store_of
from service.cli.model_versions import add, compare_versions, gc, parse_share
from service.cli.options import ModelStore
from service.cli.terminal import out, printable, say
from service.settings.urls import is_url

app = typer.Typer(
    no_args_is_help=True, help="Fine-tune, register, compare, serve, promote and roll back model versions."
)
app.command("add")(add)
app.command("compare")(compare_versions)
app.command("evaluate-retrieval")(evaluate_retrieval)
app.command("finetune")(finetune)
app.command("fetch-parts")(fetch_parts)
app.command("gc")(gc)
app.command("ope")(ope)
app.command("probe")(probe)
app.command("refit-blend")(refit_blend)
app.command("serve")(serve)
app.command("train-parts")(train_parts)
app.command("train-embedder")(train_embedder)
app.command("embed")(embed)


@app.command("list")
def list_versions(store: ModelStore = None) -> None:
    """List the versions in the model store and the built-in ones, with their aliases and evaluation.

    Example:

        tastestream models list
    """
    table = Table("version", "role", "alias", "parameters", "trained on", "evaluation", "store", box=None)
    for registry in (own_store(store), Registry(MODELS)):
        for manifest in registry.list():
            table.add_row(*_row(registry, manifest))
    out.print(table)


@app.command()
def show(version: Reference, store: ModelStore = None) -> None:
    """Print the manifest of one version.

    Example:

        tastestream models show demo-ranker
    """
    out.print(store_of(version, store).get(version).dump(), markup=False, highlight=False, end="")


@app.command("vllm-flags")
def vllm_flags(
    version: Reference,
    device: Annotated[Literal["cpu", "gpu"], typer.Option(help="What the server computes on.")] = "gpu",
    output: Annotated[
        Path | None, typer.Option(help="The file to write, NAME.yaml.", show_default="standard output")
    ] = None,
    also: Also = None,
    store: ModelStore = None,
) -> None:
    """Write the flags with which vLLM serves a version, as a file for `vllm serve --config`.

    The file names the version's folders, so the server needs the model store at the same path.

    Example:

        tastestream models vllm-flags mine-ranker@1 --output ranker.yaml
    """
    from model_store.serving.launch import config_file, flags

    registry = store_of(version, store)
    manifest = registry.get(version)
    others = ids_of_shared(registry, manifest, also)
    text = config_file(flags(manifest, registry.local_folder(manifest), registry.templates(manifest), device, others))
    if output is None:
        out.print(text, markup=False, highlight=False, soft_wrap=True)
    else:
        output.write_text(text)


@app.command()
def promote(
    name: Name,
    version: Annotated[int, typer.Argument(help="The version's number.", min=1)],
    alias: Annotated[str, typer.Option(help="The alias: production, canary, shadow, ...")] = PRODUCTION,
    share: Annotated[
        str | None, typer.Option(help="The users that a canary ranks for: `10%` or `0.1`.", show_default=False)
    ] = None,
    url: Annotated[
        list[str] | None,
        typer.Option(
            help="A server of this version. May be given several times.",
            show_default="those named for it before, else those of the settings",
        ),
    ] = None,
    store: ModelStore = None,
) -> None:
    """Point an alias at a version. Running gateways follow within seconds, as soon as a server serves the version.

    `production` ranks for everybody, `canary` for a share of the users, `shadow` is only compared with what was shown.
    Gateways must have been started with `TASTESTREAM_RANKER__VERSION=NAME@production` (or NAME), and ask servers of
    --url only if `TASTESTREAM_RANKER__ALLOWED_URLS` has them. Workers use a new summarizer from their next start.

    An embedder has neither canary nor shadow: workers make the vectors of its new production version, on the servers of
    --url that `TASTESTREAM_EMBEDDER__ALLOWED_URLS` has, and gateways change over when they are complete.

    Example:

        tastestream models promote movielens-ranker 2 --alias canary --share 10% --url http://127.0.0.1:8002
    """
    if (alias == CANARY) != (share is not None):
        raise typer.BadParameter("--share is for --alias canary, which needs it")
    for one in url or ():
        if not is_url(one, ("http", "https")):
            raise typer.BadParameter(f"--url {printable(one)!r}: the root of a server, such as http://127.0.0.1:8002")
    users = 1.0 if share is None else parse_share(share)
    registry = own_store(store)
    fields = {"share": users, "urls": url} if alias in (CANARY, SHADOW) or url else {}
    with audited("model.promote", model=name, version=version, alias=alias, store=registry.root, **fields):
        if alias in (CANARY, SHADOW) and registry.get(f"{name}@{version}").role == "embedder":
            raise typer.BadParameter(f"--alias {alias} is for rankers: all users share an embedder's vectors")
        promoted = registry.promote(name, version, alias, share=users, urls=url or ())
    whom = f" for {users:.4g} of the users" if alias == CANARY else ""
    say(f"{name}@{alias} is now {name}@{version}{whom}" + (f" on {', '.join(promoted.urls)}" if promoted.urls else ""))


@app.command()
def rollback(
    name: Name,
    alias: Annotated[str, typer.Option(help="The alias to point back.")] = PRODUCTION,
    store: ModelStore = None,
) -> None:
    """Undo the last promotion of an alias. Running gateways follow within seconds.

    Example:

        tastestream models rollback movielens-ranker
    """
    registry = own_store(store)
    with audited("model.rollback", model=name, alias=alias, store=registry.root) as fields:
        version = fields["version"] = registry.rollback(name, alias)
    say(f"{name}@{alias} is {name}@{version} again")


@app.command()
def end(
    name: Name,
    alias: Annotated[str, typer.Argument(help="The alias: canary, shadow, ...")],
    store: ModelStore = None,
) -> None:
    """Take an alias away. The users of a canary get production again, within seconds.

    Example:

        tastestream models end movielens-ranker canary
    """
    registry = own_store(store)
    with audited("model.end", model=name, alias=alias, store=registry.root) as fields:
        version = fields["version"] = registry.end(name, alias)
    say(f"{name}@{alias}, which was {name}@{version}, has ended")


def _row(registry: Registry, manifest: Manifest) -> Iterator[str]:
    promotions = registry.promotions(manifest.name)
    yield manifest.id
    yield manifest.role
    yield ", ".join(
        f"{alias} {one.share:.4g}" if alias == CANARY else alias
        for alias, one in promotions.items()
        if one.version == manifest.version
    )
    yield f"{manifest.training.parameters:,}" if manifest.training.parameters else ""
    yield manifest.training.data
    yield ", ".join(f"{key} {value}" for key, value in manifest.evaluation.items() if isinstance(value, float))
    yield registry.root
