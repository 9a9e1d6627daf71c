"""Two versions of a model in a store of their own, of which a test rolls out the second one."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model_store.registry.manifest import Manifest
from model_store.registry.registry import Registry
from model_store.serving.launch import VllmServer
from tests.vllm_servers import running


def copied(source: Registry, folder: Path) -> Registry:
    """A copy of a model store, which a test may change."""
    shutil.copytree(source.root, folder)
    return Registry(folder)


def add_second(registry: Registry, first: Manifest, **changed: Any) -> Manifest:
    """Register version 2, which has the weights and the prompts of `first`, and promote `first`.

    Args:
        changed: fields of its manifest that differ.
    """
    weights = first.weights or f"{first.name}/{first.version}/weights"
    update = {"version": 2, "weights": weights, **changed}
    second = registry.add(first.model_copy(update=update), registry.templates(first))
    registry.promote(first.name, first.version)
    return second


def served(registry: Registry, manifest: Manifest, log: Path) -> Iterator[str]:
    """The URL of a vLLM server of a version, in float32, while it runs."""
    serving = manifest.serving.model_copy(update={"dtype": "float32"})
    manifest = manifest.model_copy(update={"serving": serving})
    server = VllmServer(manifest, registry.local_folder(manifest), registry.templates(manifest), log)
    with running(server):
        yield server.url
