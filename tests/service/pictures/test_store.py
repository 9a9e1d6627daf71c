"""Guarantees of the picture store."""

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import fsspec
import pytest

from model_store.byte_cache import OVERHEAD
from service.pictures.folders import open_folder
from service.pictures.store import PictureStore, Swept

HOUR_S = 3600.0


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture(params=["local", "remote"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "local":
        yield str(tmp_path / "pictures")
    else:
        yield "memory://pictures"
        fsspec.filesystem("memory").store.clear()


async def test_what_was_written_is_read_under_its_hash_by_another_process(url: str) -> None:
    hashed = await PictureStore(url).write(b"picture")
    assert hashed == sha256(b"picture").hexdigest()
    assert await PictureStore(url).read(hashed) == b"picture"


async def test_many_are_read_at_once_without_the_missing_ones(url: str) -> None:
    store = PictureStore(url)
    hashes = [await store.write(content) for content in (b"a", b"b")]
    missing = sha256(b"c").hexdigest()
    assert await PictureStore(url).read_many([*hashes, missing, hashes[0]]) == dict(
        zip(hashes, (b"a", b"b"), strict=True)
    )


@pytest.mark.parametrize("name", ["", "x", "../../etc/passwd", "A" * 64, "a" * 63 + "/"])
async def test_what_is_no_hash_is_not_looked_for(url: str, name: str) -> None:
    assert await PictureStore(url).read(name) is None


async def test_writing_again_and_at_once_is_harmless(url: str) -> None:
    store = PictureStore(url)
    hashes = await asyncio.gather(*(store.write(b"same") for _ in range(20)))
    assert len(set(hashes)) == 1
    assert await PictureStore(url).read(hashes[0]) == b"same"


async def test_nothing_half_written_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        await PictureStore(str(tmp_path)).write(b"picture")
    assert files(tmp_path) == []


async def test_the_cache_is_bounded_in_bytes(tmp_path: Path) -> None:
    store = PictureStore(str(tmp_path), cached_bytes=2 * (4 + OVERHEAD))
    hashes = [await store.write(bytes([number]) * 4) for number in range(3)]
    for path in files(tmp_path):
        path.unlink()
    assert (await store.read_many(hashes)).keys() == set(hashes[1:])


def age(url: str, name: str, by_s: float) -> None:
    """Make a stored file older."""
    if "://" in url:
        memory = fsspec.filesystem("memory")
        memory.store[f"/pictures/{name}"].modified = datetime.now(UTC) - timedelta(seconds=by_s)
    else:
        os.utime(Path(url) / name, (time.time() - by_s,) * 2)


def put_raw(url: str, name: str, content: bytes) -> None:
    """A file that the store did not write."""
    folder = url if "://" in url else f"file://{url}"
    with fsspec.open(f"{folder}/{name}", "wb", auto_mkdir=True) as file:
        file.write(content)


async def sweep(store: PictureStore, *named: str, dry_run: bool = False) -> Swept:
    hashes = {bytes.fromhex(one) for one in named}
    swept = [part async for part in store.sweep(hashes, HOUR_S, time.monotonic(), dry_run=dry_run)]
    sums = zip(*((part.kept, part.young, part.removed, part.removed_bytes) for part in swept), strict=True)
    return Swept(*(sum(column) for column in sums))


def name(picture: str) -> str:
    return f"{picture[:2]}/{picture}"


async def test_a_sweep_removes_what_is_not_named_and_old(url: str) -> None:
    store = PictureStore(url, cached_bytes=0)
    named, old, young = [await store.write(content) for content in (b"named", b"old", b"young")]
    age(url, name(named), 2 * HOUR_S)
    age(url, name(old), 2 * HOUR_S)
    assert await sweep(store, named, dry_run=True) == Swept(kept=2, young=1, removed=1, removed_bytes=3)
    assert await store.read(old) == b"old"
    assert await sweep(store, named) == Swept(kept=2, young=1, removed=1, removed_bytes=3)
    assert (await store.read_many([named, old, young])).keys() == {named, young}


async def test_a_sweep_removes_what_a_killed_writer_left_and_nothing_of_others(url: str) -> None:
    store = PictureStore(url, cached_bytes=0)
    named = await store.write(b"named")
    left, just_now, foreign = f"{name(named)}.{'0' * 16}", f"{name(named)}.{'1' * 16}", f"{named[:2]}/readme.txt"
    for one in (left, just_now, foreign):
        put_raw(url, one, b"half")
    for one in (left, foreign):
        age(url, one, 2 * HOUR_S)
    assert (await sweep(store, named)).removed == 1
    folder = url if "://" in url else f"file://{url}"
    there = [fsspec.core.url_to_fs(f"{folder}/{one}") for one in (left, just_now, foreign)]
    assert [filesystem.exists(path) for filesystem, path in there] == [False, True, True]


async def test_a_picture_that_came_during_a_sweep_longer_than_its_grace_stays(url: str) -> None:
    """Its item was put after its page was read, and when it is checked it is older than the grace period."""
    store = PictureStore(url, cached_bytes=0)
    before, since = await store.write(b"before"), await store.write(b"since")
    age(url, name(before), 5 * HOUR_S)
    age(url, name(since), 3 * HOUR_S)
    swept = [part.removed async for part in store.sweep(set(), HOUR_S, time.monotonic() - 4 * HOUR_S)]
    assert sum(swept) == 1
    assert (await store.read_many([before, since])).keys() == {since}


@pytest.mark.parametrize("refresh_s", [0.0, HOUR_S / 2])
async def test_a_picture_that_is_written_again_is_young_again(url: str, refresh_s: float) -> None:
    store = PictureStore(url, cached_bytes=0, refresh_s=refresh_s)
    picture = await store.write(b"picture")
    age(url, name(picture), 2 * HOUR_S)
    await store.write(b"picture")
    assert (await sweep(store)).removed == 0
    assert await store.read(picture) == b"picture"


async def test_a_young_remote_picture_is_not_sent_again() -> None:
    memory = fsspec.filesystem("memory")
    try:
        store = PictureStore("memory://pictures", refresh_s=HOUR_S)
        picture = await store.write(b"picture")
        age("memory://pictures", name(picture), HOUR_S / 2)
        before = memory.modified(f"/pictures/{name(picture)}")
        await store.write(b"picture")
        assert memory.modified(f"/pictures/{name(picture)}") == before
    finally:
        memory.store.clear()


async def test_a_picture_that_is_written_while_it_is_removed_is_there_afterwards(tmp_path: Path) -> None:
    folder = open_folder(str(tmp_path), 0.0)
    picture = name(sha256(b"picture").hexdigest())
    for _ in range(300):
        folder.write(picture, b"picture")
        age(str(tmp_path), picture, 2 * HOUR_S)
        await asyncio.gather(
            asyncio.to_thread(folder.remove, picture, HOUR_S), asyncio.to_thread(folder.write, picture, b"picture")
        )
        assert folder.read([picture]) == {picture: b"picture"}
    assert len(files(tmp_path)) == 1


def test_two_concurrent_sweeps_do_not_interfere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = open_folder(str(tmp_path), 0.0)
    picture = name(sha256(b"picture").hexdigest())
    folder.write(picture, b"picture")
    age(str(tmp_path), picture, 2 * HOUR_S)
    rename = Path.rename

    def rename_and_lose(path: Path, target: Path) -> Path:
        moved = rename(path, target)
        assert folder.remove(str(target.relative_to(tmp_path)), HOUR_S)
        return moved

    monkeypatch.setattr(Path, "rename", rename_and_lose)
    assert not folder.remove(picture, HOUR_S)
    assert files(tmp_path) == []


def test_a_picture_that_is_removed_between_being_found_and_being_touched_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = open_folder(str(tmp_path), 0.0)
    picture = name(sha256(b"picture").hexdigest())
    folder.write(picture, b"picture")
    age(str(tmp_path), picture, 2 * HOUR_S)
    utime = os.utime

    def remove_then_touch(path: Path) -> None:
        with path.open("rb") as found:
            assert folder.remove(picture, HOUR_S)
            utime(found.fileno())

    monkeypatch.setattr(os, "utime", remove_then_touch)
    folder.write(picture, b"picture")
    assert folder.read([picture]) == {picture: b"picture"}


async def test_a_picture_that_became_young_before_its_removal_stays(url: str) -> None:
    store = PictureStore(url, cached_bytes=0)
    picture = await store.write(b"picture")
    assert not open_folder(url, 0.0).remove(name(picture), HOUR_S)
    assert await store.read(picture) == b"picture"


async def test_reading_goes_on_while_writing_is_stuck_and_neither_takes_the_loops_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow folder blocked the threads in which rankings are prepared."""
    store = PictureStore(str(tmp_path), cached_bytes=0)
    hashed = await store.write(b"picture")
    go_on = threading.Event()
    monkeypatch.setattr(store._folder, "write", lambda name, content: go_on.wait(60))
    writing = [asyncio.create_task(store.write(b"%d" % number)) for number in range(100)]
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        assert await store.read(hashed) == b"picture"
        assert await asyncio.to_thread(lambda: "free") == "free"
    assert not any(one.done() for one in writing)
    go_on.set()
    await asyncio.gather(*writing)
