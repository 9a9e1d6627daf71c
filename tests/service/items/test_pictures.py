"""Promises of the picture store."""

import asyncio
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import fsspec
import pytest

from service.items.pictures import PictureStore


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


async def test_many_are_read_at_once_and_the_missing_ones_left_out(url: str) -> None:
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


async def test_what_was_read_is_kept_within_its_bytes(tmp_path: Path) -> None:
    store = PictureStore(str(tmp_path), cached_bytes=10)
    hashes = [await store.write(bytes([number]) * 4) for number in range(3)]
    for path in files(tmp_path):
        path.unlink()
    assert (await store.read_many(hashes)).keys() == set(hashes[1:])
