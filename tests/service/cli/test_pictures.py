"""`tastestream pictures prune`: pictures that no item uses are removed, and nothing else."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from service.pictures.store import open_pictures
from service.settings import Settings
from service.state.records import Item
from service.state.store import Store
from tests.service.cli.conftest import Run, on_store


def path_of(settings: Settings, picture: str) -> Path:
    return settings.data_dir / "pictures" / picture[:2] / picture


def stored(settings: Settings, content: bytes, *, age_s: float = 0.0) -> Path:
    path = path_of(settings, asyncio.run(open_pictures(settings).write(content)))
    os.utime(path, (time.time() - age_s,) * 2)
    return path


@pytest.fixture
def catalogue(settings: Settings) -> None:
    async def put(store: Store) -> None:
        await store.items.put(Item("i", "title"))

    on_store(settings, put)


@pytest.mark.usefixtures("catalogue")
def test_counts_and_bytes_are_printed_and_a_dry_run_removes_nothing(tastestream: Run, settings: Settings) -> None:
    old, young = stored(settings, b"x" * 2000, age_s=7200), stored(settings, b"young")
    assert "would be removed: 1 files, 2.0 kB" in tastestream("pictures", "prune", "--dry-run").out
    assert old.exists()
    printed = tastestream("pictures", "prune").out
    assert "removed: 1 files, 2.0 kB" in printed
    assert "kept: 1 files, 1 of them younger than 3600 s" in printed
    assert (old.exists(), young.exists()) == (False, True)


def test_with_an_empty_catalogue_only_force_removes_anything(tastestream: Run, settings: Settings) -> None:
    picture = stored(settings, b"picture", age_s=7200)
    refused = tastestream("pictures", "prune")
    assert (refused.code, "the catalogue is empty" in refused.err) == (1, True)
    assert "would be removed: 1 files" in tastestream("pictures", "prune", "--dry-run").out
    assert picture.exists()
    assert "removed: 1 files" in tastestream("pictures", "prune", "--force").out
    assert not picture.exists()


@pytest.mark.usefixtures("catalogue")
def test_a_folder_that_cannot_be_read_is_named(tastestream: Run, settings: Settings) -> None:
    settings.data_dir.mkdir(exist_ok=True)
    (settings.data_dir / "pictures").write_text("a file")
    ended = tastestream("pictures", "prune")
    assert (ended.code, "the pictures can't be pruned" in ended.err) == (1, True)
