"""Stored pictures: files named by their content."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterable
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256

from model_store.byte_cache import ByteCache
from service.pictures.folders import PARTS, open_folder
from service.settings import Settings

HASH = re.compile(r"[0-9a-f]{64}")
"""Of the bytes of a picture: SHA-256."""
_READERS, _WRITERS = 8, 4


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did to the files of one subfolder. `young` files are kept though no item names them."""

    kept: int = 0
    young: int = 0
    removed: int = 0
    removed_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Shared:
    """What all folders share. `cache` has pictures by folder and hash."""

    reading: ThreadPoolExecutor
    writing: ThreadPoolExecutor
    cache: ByteCache[tuple[str, str], bytes]


class PictureStore:
    """Immutable pictures by the SHA-256 of their bytes. Writing one again is harmless.

    Args:
        url: an fsspec URL or a local path; created if it is missing.
        cached_bytes: the memory for pictures that were read or written recently.
        refresh_s: a remote picture younger than this is not written again.
        shared: that of another folder, see `of`.
    """

    def __init__(
        self,
        url: str,
        *,
        cached_bytes: int = 64 * 1024 * 1024,
        refresh_s: float = 0.0,
        shared: _Shared | None = None,
    ) -> None:
        self._url, self._refresh_s = url, refresh_s
        self._folder = open_folder(url, refresh_s)
        # Separate from the event loop's threads, and from each other: a slow folder must not hold up other work in
        # threads, and slow writes must not hold up the reads of rankings.
        self._shared = shared or _Shared(
            ThreadPoolExecutor(_READERS, "read-pictures"),
            ThreadPoolExecutor(_WRITERS, "write-pictures"),
            ByteCache(cached_bytes),
        )

    def of(self, url: str) -> "PictureStore":
        """The store of another folder, with the same threads and the same memory for recent pictures."""
        return PictureStore(url, refresh_s=self._refresh_s, shared=self._shared)

    async def read(self, picture: str) -> bytes | None:
        """The bytes of the picture with this hash; None if it does not exist.

        Raises:
            OSError: the folder can't be read.
        """
        return (await self.read_many([picture])).get(picture)

    async def read_many(self, pictures: Iterable[str]) -> dict[str, bytes]:
        """The bytes of the pictures that exist, by hash.

        Raises:
            OSError: the folder can't be read.
        """
        wanted = {picture for picture in pictures if HASH.fullmatch(picture)}
        found = {
            picture: content
            for picture in wanted
            if (content := self._shared.cache.get((self._url, picture))) is not None
        }
        if missing := {file_name(picture): picture for picture in wanted - found.keys()}:
            loop = asyncio.get_running_loop()
            read = await loop.run_in_executor(self._shared.reading, self._folder.read, list(missing))
            for name, content in read.items():
                found[missing[name]] = content
                self._shared.cache.add((self._url, missing[name]), content)
        return found

    async def write(self, content: bytes) -> str:
        """Store `content` atomically and return its hash. A picture that exists counts as written now.

        Raises:
            OSError: the folder can't be written.
        """
        picture = sha256(content).hexdigest()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._shared.writing, self._folder.write, file_name(picture), content)
        self._shared.cache.add((self._url, picture), content)
        return picture

    async def sweep(
        self, named: AbstractSet[bytes], grace_s: float, began: float, *, dry_run: bool = False
    ) -> AsyncIterator[Swept]:
        """Remove the pictures that no item names and what killed writers left. Yields once for each of the `PARTS`.

        A picture that an item names only after `began` is kept: it was written less than `grace_s` before, or later.

        Args:
            named: hashes, 32 bytes each.
            grace_s: the minimum age at `began` of a picture that is removed.
            began: `time.monotonic()` before `named` was read.

        Raises:
            OSError: the folder can't be read or written, or does not know the age of its files.
        """
        loop = asyncio.get_running_loop()
        for part in PARTS:
            least_age_s = grace_s + time.monotonic() - began
            yield await loop.run_in_executor(self._shared.writing, self._sweep_part, part, named, least_age_s, dry_run)

    def _sweep_part(self, part: str, named: AbstractSet[bytes], least_age_s: float, dry_run: bool) -> Swept:
        kept = young = removed = removed_bytes = 0
        for name, size in self._folder.sizes(part).items():
            picture = name.rpartition("/")[2]
            if len(picture) == 64 and bytes.fromhex(picture) in named:
                kept += 1
            elif (age_s := self._folder.age_s(name)) is None:
                continue
            elif age_s >= least_age_s and (dry_run or self._folder.remove(name, least_age_s)):
                removed += 1
                removed_bytes += size
            else:
                kept += 1
                young += 1
        return Swept(kept, young, removed, removed_bytes)


def open_pictures(settings: Settings) -> PictureStore:
    """The picture store that the settings name; by default, a folder in the data folder."""
    given = settings.pictures
    return PictureStore(settings.pictures_url, cached_bytes=given.cached_bytes, refresh_s=given.grace_s / 2)


def file_name(picture: str) -> str:
    """The name of a picture's file in its folder."""
    return f"{picture[:2]}/{picture}"
