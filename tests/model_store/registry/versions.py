"""Versions as small as they can be."""

import itertools
from pathlib import Path

from model_store.prompts import BUILT_IN
from model_store.registry.manifest import Manifest
from model_store.registry.registry import Registry

_NUMBER = itertools.count()


def in_memory() -> str:
    """The URL of a store of its own in a remote file system."""
    return f"memory://store-{next(_NUMBER)}"


def version(number: int, name: str = "taste", **values: object) -> Manifest:
    return Manifest.model_validate({"name": name, "version": number, "role": "summarizer", **values})


def add(registry: Registry, folder: Path | None, number: int, name: str = "taste", **values: object) -> Manifest:
    return registry.add(version(number, name, **values), BUILT_IN / "compact", folder)
