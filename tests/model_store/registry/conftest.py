"""A store of versions, on a local disk and on a remote file system, and what is put into it."""

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from model_store.registry.registry import Registry
from tests.model_store.registry.versions import in_memory


@pytest.fixture(params=["local", "remote"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    if request.param == "local":
        yield Registry(tmp_path / "store", tmp_path / "cache")
        return
    yield Registry(in_memory(), tmp_path / "cache")
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"\x00\x01")
    return folder


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    folder = tmp_path / "encoder"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"\x07")
    return folder
