"""Stored pictures: files named by their content, in a local folder or any other that fsspec knows."""

import asyncio
import os
import re
import tempfile
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import fsspec

from service.settings import Settings

_HASH = re.compile(r"[0-9a-f]{64}")


class _Folder(Protocol):
    def read(self, names: list[str]) -> dict[str, bytes]: ...

    def write(self, name: str, content: bytes) -> None: ...


class PictureStore:
    """Pictures by the SHA-256 of their bytes. Writing one twice is harmless; none is ever changed.

    Args:
        url: an fsspec URL or a local path; made when it is missing.
        cached_bytes: how much of what was read last is kept in memory.
    """

    def __init__(self, url: str, *, cached_bytes: int = 64 * 1024 * 1024) -> None:
        self._folder: _Folder = _RemoteFolder(url) if "://" in url or "::" in url else _LocalFolder(Path(url))
        self._cache = _Cache(cached_bytes)

    async def read(self, picture: str) -> bytes | None:
        """The bytes of the picture with this hash, None if there is none.

        Raises:
            OSError: the folder can't be read.
        """
        return (await self.read_many([picture])).get(picture)

    async def read_many(self, pictures: Iterable[str]) -> dict[str, bytes]:
        """The bytes of the pictures with these hashes, without those that are not there.

        Raises:
            OSError: the folder can't be read.
        """
        wanted = {picture for picture in pictures if _HASH.fullmatch(picture)}
        found = {picture: content for picture in wanted if (content := self._cache.get(picture)) is not None}
        if missing := {_name(picture): picture for picture in wanted - found.keys()}:
            read = await asyncio.to_thread(self._folder.read, list(missing))
            for name, content in read.items():
                found[missing[name]] = content
                self._cache.add(missing[name], content)
        return found

    async def write(self, content: bytes) -> str:
        """Keep `content` and return its hash; whoever reads sees all of it or nothing.

        Raises:
            OSError: the folder can't be written.
        """
        picture = sha256(content).hexdigest()
        await asyncio.to_thread(self._folder.write, _name(picture), content)
        self._cache.add(picture, content)
        return picture


def open_pictures(settings: Settings) -> PictureStore:
    """The picture store that the settings name; by default, a folder in the data folder."""
    url = settings.pictures.url or str(settings.data_dir / "pictures")
    return PictureStore(url, cached_bytes=settings.pictures.cached_bytes)


def _name(picture: str) -> str:
    return f"{picture[:2]}/{picture}"


class _LocalFolder:
    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, names: list[str]) -> dict[str, bytes]:
        found = {}
        for name in names:
            with suppress(FileNotFoundError):
                found[name] = (self._root / name).read_bytes()
        return found

    def write(self, name: str, content: bytes) -> None:
        path = self._root / name
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise


class _RemoteFolder:
    def __init__(self, url: str) -> None:
        filesystem, root = fsspec.core.url_to_fs(url)
        self._fs: Any = filesystem
        self._root = root

    def read(self, names: list[str]) -> dict[str, bytes]:
        paths = {f"{self._root}/{name}": name for name in names}
        answers: dict[str, bytes | Exception] = self._fs.cat(list(paths), on_error="return")
        found = {}
        for path, answer in answers.items():
            if isinstance(answer, bytes):
                found[paths[path]] = answer
            elif not isinstance(answer, FileNotFoundError):
                raise OSError(f"{path} can't be read: {answer!r}") from answer
        return found

    def write(self, name: str, content: bytes) -> None:
        path = f"{self._root}/{name}"
        if self._fs.exists(path):
            return
        self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        # Beside and then moved: not every filesystem writes a file in one step.
        beside = f"{path}.{os.urandom(8).hex()}"
        self._fs.pipe_file(beside, content)
        self._fs.mv(beside, path)


class _Cache:
    """The pictures used last, at most `limit` bytes of them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._entries: OrderedDict[str, bytes] = OrderedDict()

    def get(self, picture: str) -> bytes | None:
        content = self._entries.get(picture)
        if content is not None:
            self._entries.move_to_end(picture)
        return content

    def add(self, picture: str, content: bytes) -> None:
        if picture in self._entries:
            return
        self._entries[picture] = content
        self._size += len(content)
        while self._size > self._limit:
            _, dropped = self._entries.popitem(last=False)
            self._size -= len(dropped)
