"""One worker at a time removes the pictures that no item uses."""

import asyncio
import os
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from service.metrics import Metrics
from service.pictures.store import PictureStore, open_pictures
from service.settings import Settings
from service.settings.pictures import PictureSettings
from service.state.records import Item
from service.state.store import Store
from tests.workers.conftest import Start, until
from tests.workers.doubles import RecordingSummarizer
from workers.sweep import sweep_periodically, sweep_pictures


async def true(value: bool) -> bool:
    return value


def path_of(settings: Settings, picture: str) -> Path:
    return settings.data_dir / "pictures" / picture[:2] / picture


async def old_picture(settings: Settings, content: bytes) -> str:
    picture = await open_pictures(settings).write(content)
    os.utime(path_of(settings, picture), (time.time() - 7200,) * 2)
    return picture


async def test_a_worker_removes_the_picture_that_its_item_replaced(
    store: Store, settings: Settings, start: Start
) -> None:
    old, new = await old_picture(settings, b"old"), await old_picture(settings, b"new")
    await store.items.put(Item("i", "title", picture=old))
    await store.items.put(Item("i", "title", picture=new))
    worker = await start(RecordingSummarizer())
    await until(lambda: true(not path_of(settings, old).exists()))
    await until(lambda: true(worker.metrics.pictures_removed._value.get() == 1))
    assert worker.metrics.picture_bytes_freed._value.get() == 3
    assert path_of(settings, new).exists()


async def test_only_one_of_many_workers_sweeps_and_only_once_per_interval(store: Store, settings: Settings) -> None:
    await store.items.put(Item("i", "title"))
    metrics, stop = Metrics(), asyncio.Event()
    given = PictureSettings(sweep_every_s=0.5)
    sweeps = (sweep_periodically(store, open_pictures(settings), given, metrics, stop) for _ in range(8))
    running = [asyncio.create_task(sweep) for sweep in sweeps]
    started = time.monotonic()

    async def swept() -> bool:
        return metrics.sweeps.labels("swept")._value.get() >= 3

    await until(swept)
    assert metrics.sweeps.labels("swept")._value.get() <= 1 + (time.monotonic() - started) / 0.5
    stop.set()
    await asyncio.gather(*running)


async def test_an_empty_catalogue_removes_no_picture(store: Store, settings: Settings, start: Start) -> None:
    picture = await old_picture(settings, b"picture")
    worker = await start(RecordingSummarizer())
    await until(lambda: true(worker.metrics.sweeps.labels("empty")._value.get() == 1))
    assert path_of(settings, picture).exists()


async def test_a_failed_sweep_is_logged_and_stops_no_worker(
    store: Store,
    settings: Settings,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    logs: list[MutableMapping[str, Any]],
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("disk on fire")

    monkeypatch.setattr("workers.sweep.sweep_pictures", fail)
    picture = await old_picture(settings, b"picture")
    await store.items.put(Item("i", "title", picture=picture))
    worker = await start(RecordingSummarizer())
    await until(lambda: true(any(entry["event"] == "sweep_failed" for entry in logs)))

    async def described() -> bool:
        item = await store.items.get("i")
        return item is not None and item.described

    await until(described)
    assert not worker.task.done()


async def test_an_item_that_is_put_while_the_sweep_runs_keeps_its_picture(store: Store, settings: Settings) -> None:
    """The worst order: the picture is old and unused when the catalogue is read, and put again afterwards."""
    pictures = open_pictures(settings)
    picture = await old_picture(settings, b"picture")
    put: list[asyncio.Task[Any]] = []

    async def put_again() -> None:
        assert await pictures.write(b"picture") == picture
        await store.items.put(Item("i", "title", picture=picture))

    def report(stage: str, done: float, note: str) -> None:
        if done == 1.0 and not put:
            put.append(asyncio.create_task(put_again()))

    await asyncio.sleep(0)
    swept = await sweep_pictures(store, _Waiting(pictures, put), 3600, report=report)
    assert swept.removed == 0
    assert path_of(settings, picture).exists()


class _Waiting(PictureStore):
    """Starts to sweep when everything in `first` is done."""

    def __init__(self, pictures: PictureStore, first: list[asyncio.Task[Any]]) -> None:
        self._pictures = pictures
        self._first = first

    async def sweep(self, *given: Any, **more: Any) -> Any:
        await asyncio.gather(*self._first)
        async for part in self._pictures.sweep(*given, **more):
            yield part
