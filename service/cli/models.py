"""`tastestream models`: the model store."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

from model_store.demo import MODELS
from model_store.registry.manifest import Manifest
from model_store.registry.registry import Registry
from service.cli.audit import audited
from service.cli.options import ModelStore
from service.cli.terminal import out, settings_or_exit

app = typer.Typer(no_args_is_help=True, help="List, show, promote and roll back model versions.")

Name = Annotated[str, typer.Argument(help="The model's name, without a version.")]
Reference = Annotated[str, typer.Argument(metavar="VERSION", help="`NAME@1`, `NAME@production`, or `NAME`.")]


@app.command("list")
def list_versions(store: ModelStore = None) -> None:
    """List the versions in the model store and the built-in ones, with their aliases and evaluation.

    Example:

        tastestream models list
    """
    table = Table("version", "role", "alias", "parameters", "trained on", "evaluation", "store", box=None)
    for registry in (_registry(store), Registry(MODELS)):
        for manifest in registry.list():
            table.add_row(*_row(registry, manifest))
    out.print(table)


@app.command()
def show(version: Reference, store: ModelStore = None) -> None:
    """Print the manifest of one version.

    Example:

        tastestream models show demo-ranker
    """
    out.print(_with(version, store).get(version).dump(), markup=False, highlight=False, end="")


@app.command("vllm-flags")
def vllm_flags(
    version: Reference,
    device: Annotated[Literal["cpu", "gpu"], typer.Option(help="What the server computes on.")] = "gpu",
    output: Annotated[
        Path | None, typer.Option(help="The file to write, NAME.yaml.", show_default="standard output")
    ] = None,
    store: ModelStore = None,
) -> None:
    """Write the flags with which vLLM serves a version, as a file for `vllm serve --config`.

    The file names the version's folders, so the server needs the model store at the same path.

    Example:

        tastestream models vllm-flags mine-ranker@1 --output ranker.yaml
    """
    from model_store.serving.launch import config_file, flags

    registry = _with(version, store)
    manifest = registry.get(version)
    text = config_file(flags(manifest, registry.local_folder(manifest), registry.prompts(manifest), device))
    if output is None:
        out.print(text, markup=False, highlight=False, soft_wrap=True)
    else:
        output.write_text(text)


@app.command()
def promote(
    name: Name,
    version: Annotated[int, typer.Argument(help="The version's number.", min=1)],
    alias: Annotated[str, typer.Option(help="The alias: production, canary, shadow, ...")] = "production",
    store: ModelStore = None,
) -> None:
    """Point an alias at a version. Running processes use it from their next start.

    Example:

        tastestream models promote movielens-ranker 2
    """
    registry = _registry(store)
    with audited("model.promote", model=name, version=version, alias=alias, store=str(registry.root)):
        registry.promote(name, version, alias)
    out.print(f"{name}@{alias} is now {name}@{version}")


@app.command()
def rollback(
    name: Name,
    alias: Annotated[str, typer.Option(help="The alias to point back.")] = "production",
    store: ModelStore = None,
) -> None:
    """Point an alias back at the version it had before.

    Example:

        tastestream models rollback movielens-ranker
    """
    registry = _registry(store)
    with audited("model.rollback", model=name, alias=alias, store=str(registry.root)) as fields:
        version = fields["version"] = registry.rollback(name, alias)
    out.print(f"{name}@{alias} is {name}@{version} again")


def _registry(store: Path | None) -> Registry:
    return Registry(store or settings_or_exit().models_folder)


def _with(version: str, store: Path | None) -> Registry:
    """The own store, or the built-in one if only that has the model."""
    own, built_in = _registry(store), Registry(MODELS)
    name = version.partition("@")[0]
    return built_in if built_in.versions(name) and not own.versions(name) else own


def _row(registry: Registry, manifest: Manifest) -> Iterator[str]:
    aliases = registry.aliases(manifest.name)
    yield manifest.id
    yield manifest.role
    yield ", ".join(alias for alias, version in aliases.items() if version == manifest.version)
    yield f"{manifest.training.parameters:,}" if manifest.training.parameters else ""
    yield manifest.training.data
    yield ", ".join(f"{key} {value}" for key, value in manifest.evaluation.items() if isinstance(value, float))
    yield registry.root
