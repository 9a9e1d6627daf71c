"""The model stores that commands work on."""

from pathlib import Path
from typing import Annotated

import typer

from model_store.demo import MODELS
from model_store.registry.registry import Registry
from service.cli.terminal import settings_or_exit

Name = Annotated[str, typer.Argument(help="The model's name, without a version.")]
Reference = Annotated[str, typer.Argument(metavar="VERSION", help="`NAME@1`, `NAME@production`, or `NAME`.")]


def own_store(store: Path | None) -> Registry:
    """The store of the option or the settings."""
    return Registry(store or settings_or_exit().models_folder)


def store_of(version: str, store: Path | None) -> Registry:
    """The own store, or the built-in one if only that has the model."""
    own, built_in = own_store(store), Registry(MODELS)
    name = version.partition("@")[0]
    return built_in if built_in.versions(name) and not own.versions(name) else own
