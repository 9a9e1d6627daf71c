"""The model stores that commands work on."""

from pathlib import Path
from typing import Annotated

import typer

from model_store.demo import MODELS
from model_store.errors import UserError
from model_store.registry.manifest import Manifest
from model_store.registry.registry import Registry
from service.cli.terminal import settings_or_exit
from service.settings.urls import is_remote

Name = Annotated[str, typer.Argument(help="The model's name, without a version.")]
Reference = Annotated[str, typer.Argument(metavar="VERSION", help="`NAME@1`, `NAME@production`, or `NAME`.")]
Also = Annotated[
    list[str] | None,
    typer.Option(
        metavar="VERSION",
        help="Another version with the same weights and prompts, such as one with a refitted blend, that the same "
        "server is to serve. Repeat the option for more.",
        show_default=False,
    ),
]


def own_store(store: str | None) -> Registry:
    """The store of the option or the settings."""
    return Registry(store or settings_or_exit().models_root)


def local_store(store: str) -> Path:
    """The folder of a store into which a model is trained.

    Raises:
        UserError: it is not on this machine.
    """
    if is_remote(store):
        raise UserError(f"{store} is not a folder: train into one, then register it with `models add --store {store}`")
    return Path(store)


def store_of(version: str, store: str | None) -> Registry:
    """The own store, or the built-in one if only that has the model."""
    own, built_in = own_store(store), Registry(MODELS)
    name = version.partition("@")[0]
    return built_in if built_in.versions(name) and not own.versions(name) else own


def ids_of_shared(registry: Registry, manifest: Manifest, also: list[str] | None) -> list[str]:
    """The ids of versions that the server of `manifest` can serve as well.

    Raises:
        UserError: one has other weights or other prompts.
    """
    others = [registry.get(reference) for reference in also or []]
    for other in others:
        if (other.weights_sha256, other.prompts_sha256) != (manifest.weights_sha256, manifest.prompts_sha256):
            raise UserError(f"{other.id} has other weights or prompts than {manifest.id}: it needs a server of its own")
    return [other.id for other in others if other.id != manifest.id]
