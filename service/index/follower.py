"""Keeps the index of one tenant in a process equal to the vectors in Redis."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from service.index.changes import TRUSTED_S, apply, dimensions_of
from service.index.exact import ExactIndex
from service.index.files import BadFile
from service.index.polling import IndexFollower
from service.index.vector_index import VectorIndex
from service.logs import get_logger
from service.metrics import Metrics
from service.state.embeddings import Change, Changes, Embeddings, Pointer

log = get_logger(__name__)
_PAGE = 2000
_PAGES_AT_ONCE = 20
"""Of an index that is being loaded, until the one in use is looked at again."""
_SAVE_EVERY_S = 60.0


@dataclass(slots=True)
class _Followed:
    """An index and what is known of it.

    Args:
        index: None until the first vector shows its width.
        after: for each bucket, the number of the last change.
        checked_at: when all changes were known last, in seconds since the epoch.
        complete: all changes were known once.
        lapsed: it must be loaded anew: it was not checked for long, or Redis has forgotten changes that it has.
    """

    pointer: Pointer
    after: tuple[int, ...]
    index: VectorIndex | None = None
    checked_at: float = 0.0
    complete: bool = False
    lapsed: bool = False
    source: Literal["file", "redis"] = "redis"
    unsaved: int = 0
    saved_at: float = float("-inf")

    def is_of(self, pointer: Pointer) -> bool:
        same = (self.pointer.store, self.pointer.current) == (pointer.store, pointer.current)
        return same and not self.lapsed


class Follower(IndexFollower):
    """Reads the vectors that changed, every few tenths of a second, and applies them in a thread.

    When another index is to be used, it is loaded beside the old one, which serves and is kept current until then.

    Args:
        folder: for a file of each index, so that a process starts with what an earlier one knew; None for none.
    """

    def __init__(
        self, embeddings: Embeddings, folder: Path | None, every_s: float, metrics: Metrics, tenant: str
    ) -> None:
        super().__init__(every_s, metrics, tenant)
        self._embeddings, self._folder = embeddings, folder
        self._serving: _Followed | None = None
        self._next: _Followed | None = None

    def current(self) -> VectorIndex | None:
        return self._serving.index if self._serving else None

    async def refresh(self) -> bool:
        serving = self._serving
        if serving is None:
            pointer, caught_up = await self._embeddings.pointer(), True
        else:
            serving.lapsed = serving.lapsed or time.time() - serving.checked_at > TRUSTED_S
            pointer, caught_up = await self._catch_up(serving)
        if pointer is None:
            self._serving = self._next = None
        elif serving is None or not serving.is_of(pointer):
            caught_up = await self._load(pointer)
        else:
            self._next = None
            if caught_up:
                await self._save(serving)
        self._show()
        return caught_up

    async def _load(self, pointer: Pointer) -> bool:
        """Read a part of the index that is to be used; use it when it is complete."""
        if self._next is None or not self._next.is_of(pointer):
            self._next = await asyncio.to_thread(self._open, pointer)
        now_in_use, caught_up = await self._catch_up(self._next)
        if self._next.lapsed:
            self._next = self._from_nothing(pointer)
            return False
        if not caught_up or now_in_use is None or not self._next.is_of(now_in_use):
            return False
        if self._next.source == "file" and await self._has_others(self._next):
            self._next = self._from_nothing(pointer)
            return False
        self._serving, self._next = self._next, None
        self._metrics.index_loads.labels(self._serving.source).inc()
        log.info("index_in_use", index=pointer.current, vectors=self._size(), source=self._serving.source)
        await self._save(self._serving)
        return True

    async def _has_others(self, followed: _Followed) -> bool:
        """Whether a file had items that are not in Redis, such as those deleted while there was no such index there."""
        expected, found = await self._embeddings.size(followed.pointer.current), len(followed.index or ())
        if found != expected:
            log.info("index_file_ignored", file=str(self._path(followed.pointer)), vectors=found, expected=expected)
        return found != expected

    async def _catch_up(self, followed: _Followed) -> tuple[Pointer | None, bool]:
        """Apply some pages of changes; the pointer, and whether those were all."""
        for _ in range(_PAGES_AT_ONCE):
            page = await self._embeddings.changes(followed.pointer.current, followed.after, _PAGE)
            if page.forgotten and not followed.lapsed:
                log.warning("index_lapsed", index=followed.pointer.current, reason="Redis lost its last writes")
                followed.lapsed = True
            if page.changes:
                await asyncio.to_thread(self._apply, followed, page.changes)
                self._observe(followed, page)
            followed.after = page.after
            if not page.more:
                followed.checked_at, followed.complete = time.time(), True
                return page.pointer, True
        return page.pointer, False

    def _apply(self, followed: _Followed, changes: Sequence[Change]) -> None:
        if followed.index is None and (dimensions := dimensions_of(changes)) is not None:
            followed.index = ExactIndex(followed.pointer.current, dimensions)
        if followed.index is not None:
            apply(changes, followed.index, self._metrics)
            followed.unsaved += len(changes)

    def _observe(self, followed: _Followed, page: Changes) -> None:
        if followed.complete:
            self._metrics.index_lag.observe(max(0.0, time.time() - max(page.after) / 1e6))

    def _from_nothing(self, pointer: Pointer) -> _Followed:
        return _Followed(pointer, (0,) * self._embeddings.buckets)

    def _open(self, pointer: Pointer) -> _Followed:
        """What a file knows, or nothing."""
        followed = self._from_nothing(pointer)
        path = self._path(pointer)
        if path is None:
            return followed
        try:
            index, note = ExactIndex.load(path, pointer.current)
            if not _fits(note, followed):
                log.info("index_file_ignored", file=str(path), reason="of another Redis, or too old")
                return followed
        except FileNotFoundError:
            return followed
        except (OSError, BadFile, KeyError, TypeError, ValueError) as error:
            log.warning("index_file_ignored", file=str(path), reason=str(error)[:200])
            return followed
        followed.index, followed.after, followed.source = index, tuple(note["after"]), "file"
        followed.saved_at = time.monotonic()
        return followed

    async def _save(self, followed: _Followed) -> None:
        """Write the file, at most once a minute, however many processes there are."""
        path, index = self._path(followed.pointer), followed.index
        if path is None or index is None or not followed.unsaved:
            return
        if time.monotonic() - followed.saved_at < _SAVE_EVERY_S:
            return
        followed.saved_at = time.monotonic()
        note = {"store": followed.pointer.store, "after": followed.after, "at": followed.checked_at}
        followed.unsaved = 0
        try:
            await asyncio.to_thread(self._write, path, index, note, followed.pointer)
        except OSError as error:
            log.warning("index_not_saved", file=str(path), error=str(error)[:200])

    def _write(self, path: Path, index: VectorIndex, note: dict[str, Any], pointer: Pointer) -> None:
        with suppress(FileNotFoundError):
            if 0 <= time.time() - path.stat().st_mtime < _SAVE_EVERY_S / 2:
                return
        index.save(path, note)
        previous = self._path(Pointer(pointer.store, pointer.previous)) if pointer.previous else None
        for other in path.parent.iterdir():
            # Another process may be done with its file meanwhile.
            with suppress(FileNotFoundError):
                unfinished = other.suffix == ".tmp" and time.time() - other.stat().st_mtime > _SAVE_EVERY_S
                if unfinished or (other.suffix == path.suffix and other not in (path, previous)):
                    other.unlink()

    def _path(self, pointer: Pointer) -> Path | None:
        return self._folder / f"{pointer.current}.vectors" if self._folder else None

    def _size(self) -> int:
        index = self.current()
        return len(index) if index is not None else 0

    def _show(self) -> None:
        self._vectors.set(self._size())
        self._age.set(time.time() - self._serving.checked_at if self._serving else 0.0)


def _fits(note: dict[str, Any], followed: _Followed) -> bool:
    """Whether a file is of this Redis, and not so old that removals may have been forgotten since."""
    same = note["store"] == followed.pointer.store and len(note["after"]) == len(followed.after)
    return same and 0 <= time.time() - note["at"] + 60 < TRUSTED_S
