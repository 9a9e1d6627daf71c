"""Copies the vectors of one tenant from Redis into collections of Qdrant, where gateways search them.

One worker does it at a time. A collection is replaced if it may differ from Redis: because another worker wrote to it
and did not record the end, because nobody has brought it up to date for so long that removals were forgotten, or
because a failover of Redis lost writes. A new one is filled beside it, and takes its place when it is complete.
"""

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from service.errors import StateUnavailable
from service.index.changes import TRUSTED_S, apply
from service.index.qdrant import QdrantIndex, collections_of
from service.index.vector_index import IndexUnavailable
from service.logs import get_logger
from service.metrics import Metrics
from service.state.embeddings import Pointer
from service.state.mirrors import Mirror
from service.state.store import Store

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

log = get_logger(__name__)
QDRANT_TIMEOUT_S = 5
SLOTS = 2
_LOCK_S = 30.0
"""Longer than one page takes. After this time another worker takes over from one that died."""
_TASK = "embedding_mirror"
_PAGE = 1000
_PAGES_AT_ONCE = 20
"""Of one collection, until the others are looked at again."""
_FRESH_S = 1.0
"""A record without news is written this often, to say that it has all changes."""
_LOOK_S = 2.0
"""How long a new or removed index, or a lost collection, may take to be noticed."""
_RETIRED_S = 60.0
"""For how long a collection that was replaced is kept: gateways may still search it."""
_FAILED_S = 2.0


class Overtaken(Exception):
    """Another worker does this now."""


async def mirror_periodically(mirroring: "Mirroring", every_s: float, stop: asyncio.Event) -> None:
    """Copy what changed every few tenths of a second, until `stop` is set. A page that was begun is finished."""
    stopping, failure, tenant = asyncio.create_task(stop.wait()), "", mirroring.tenant
    while not stop.is_set():
        wait_s, error_text = every_s, ""
        try:
            if not await mirroring.refresh(stop):
                wait_s = 0.0
        except Overtaken:
            log.warning("mirror_overtaken", tenant=tenant)
        except (StateUnavailable, IndexUnavailable) as error:
            wait_s, error_text = max(every_s, _FAILED_S), str(error)[:200]
            if error_text != failure:
                log.warning("index_not_mirrored", tenant=tenant, error=error_text)
        except Exception:
            wait_s = max(every_s, _FAILED_S)
            log.exception("mirror_failed", tenant=tenant)
        failure = error_text
        await asyncio.wait({stopping}, timeout=wait_s)
    await mirroring.close()


class Mirroring:
    """What one worker does for one tenant.

    Args:
        slots: bounds the pages that are copied at the same time, each in a thread, by all tenants of the process.
    """

    def __init__(self, store: Store, client: "QdrantClient", metrics: Metrics, slots: asyncio.Semaphore) -> None:
        self._store, self._mirrors, self._client, self._metrics = store, store.mirrors, client, metrics
        self._slots, self.tenant = slots, store.tenant
        self._owner = secrets.token_hex(8)
        self._copied: dict[str, tuple[int, ...]] = {}
        self._indexes: Mapping[str, int] = {}
        self._collections: set[str] = set()
        self._looked_at = float("-inf")

    async def refresh(self, stop: asyncio.Event | None = None) -> bool:
        """Copy what changed, if no other worker does. True if there is nothing more to copy now.

        Args:
            stop: once set, no further page is begun.

        Raises:
            StateUnavailable: Redis did not answer.
            IndexUnavailable: Qdrant did not, or refused.
            Overtaken: another worker has taken over.
        """
        if not await self._claim():
            return True
        pointer, mirrors = await self._mirrors.read()
        if pointer is None:
            return True
        await self._look()
        kept: dict[str, list[Mirror]] = {index: [] for index in self._in_order(pointer)}
        for mirror in mirrors:
            if mirror.retired_at is None and (mirror.index not in kept or self._is_lost(mirror)):
                await self._retire(mirror)
            elif mirror.retired_at is None:
                kept[mirror.index].append(await self._examined(mirror, pointer))
        caught_up = [await self._keep(index, pointer, own, stop) for index, own in kept.items()]
        for mirror in mirrors:
            if mirror.retired_at is not None and time.time() - mirror.retired_at >= _RETIRED_S:
                await self._delete(mirror)
        return all(caught_up)

    async def close(self) -> None:
        """Let another worker take over at once."""
        try:
            await self._store.locks.give_back(_TASK, self._owner)
        except StateUnavailable as error:
            log.warning("mirror_not_released", tenant=self.tenant, error=error.detail)

    async def _claim(self) -> bool:
        return await self._store.locks.claim(_TASK, self._owner, _LOCK_S)

    async def _look(self) -> None:
        if time.monotonic() - self._looked_at >= _LOOK_S:
            self._indexes = await self._store.embeddings.indexes()
            self._collections = await asyncio.to_thread(collections_of, self._client)
            self._looked_at = time.monotonic()

    def _is_lost(self, mirror: Mirror) -> bool:
        """Whether somebody else deleted the collection."""
        lost = any(mirror.after) and mirror.collection not in self._collections
        if lost:
            log.warning("mirror_lost", tenant=self.tenant, collection=mirror.collection)
        return lost

    def _in_order(self, pointer: Pointer) -> list[str]:
        """The indexes, the one in use first."""
        return sorted(self._indexes, key=lambda index: index != pointer.current)

    async def _examined(self, mirror: Mirror, pointer: Pointer) -> Mirror:
        """The copy, marked if it can't be trusted any more."""
        copied = self._copied.get(mirror.collection, mirror.after)
        reasons = {
            "another worker wrote to it": mirror.writer not in ("", self._owner),
            "too old": time.time() - mirror.checked_at > TRUSTED_S,
            "of another Redis": mirror.store != pointer.store or len(mirror.after) != self._store.embeddings.buckets,
            "Redis lost its record": mirror.writer != self._owner and _is_before(mirror.after, copied),
            "of another width": mirror.dimensions != self._indexes[mirror.index],
        }
        found = [reason for reason, holds in reasons.items() if holds]
        return mirror if mirror.spoiled or not found else await self._spoil(mirror, found[0])

    async def _spoil(self, mirror: Mirror, reason: str) -> Mirror:
        log.warning("mirror_spoiled", tenant=self.tenant, collection=mirror.collection, reason=reason)
        return await self._write(mirror, spoiled=True, writer="")

    async def _keep(self, index: str, pointer: Pointer, own: Sequence[Mirror], stop: asyncio.Event | None) -> bool:
        """Bring the copies of an index up to date: the good one, and one that serves until that is complete."""
        good = min((one for one in own if not one.spoiled), key=lambda one: not one.complete, default=None)
        if good is None:
            good = await self._begin(index, pointer)
        good, caught_up = await self._follow(good, stop)
        for other in own:
            if other.collection == good.collection:
                continue
            if good.complete or not other.complete:
                await self._retire(other)
            else:
                await self._follow(other, stop)
        return caught_up

    async def _begin(self, index: str, pointer: Pointer) -> Mirror:
        """A new copy. It is recorded before there is a collection, so that none is forgotten."""
        name = f"tastestream-{self.tenant}-{index.replace('@', '-')}-{secrets.token_hex(4)}"
        nothing = (0,) * self._store.embeddings.buckets
        mirror = Mirror(name, index, pointer.store, self._indexes[index], nothing, checked_at=time.time())
        if not await self._mirrors.write(mirror, None):
            raise Overtaken
        log.info("mirror_begun", tenant=self.tenant, index=index, collection=name)
        return mirror

    async def _follow(self, mirror: Mirror, stop: asyncio.Event | None) -> tuple[Mirror, bool]:
        """Copy some pages of changes; the copy, and whether those were all."""
        index = self._index(mirror)
        if not any(mirror.after):
            await asyncio.to_thread(index.create)
            self._collections.add(mirror.collection)
        for _ in range(_PAGES_AT_ONCE):
            if stop is not None and stop.is_set():
                break
            async with self._slots:
                mirror, more = await self._copy_page(mirror, index)
            if not more:
                return mirror, True
        return mirror, False

    async def _copy_page(self, mirror: Mirror, index: QdrantIndex) -> tuple[Mirror, bool]:
        """Copy one page; the copy, and whether there may be more."""
        if not await self._claim():
            raise Overtaken
        page = await self._store.embeddings.changes(mirror.index, mirror.after, _PAGE)
        if page.forgotten and not mirror.spoiled:
            mirror = await self._spoil(mirror, "Redis lost its last writes")
        if page.changes:
            mirror = await self._write(mirror, writer=self._owner)
            await asyncio.to_thread(apply, page.changes, index, self._metrics)
            self._copied[mirror.collection] = page.after
        if page.more:
            return await self._write(mirror, after=page.after, writer=""), True
        return await self._caught_up(mirror, page.after), False

    async def _caught_up(self, mirror: Mirror, after: tuple[int, ...]) -> Mirror:
        now = time.time()
        if (mirror.complete, mirror.writer, mirror.after) == (True, "", after) and now - mirror.checked_at < _FRESH_S:
            return mirror
        vectors = mirror.vectors if mirror.after == after else await self._store.embeddings.size(mirror.index)
        if not mirror.complete:
            log.info("mirror_complete", tenant=self.tenant, collection=mirror.collection, vectors=vectors)
        return await self._write(mirror, after=after, checked_at=now, vectors=vectors, complete=True, writer="")

    async def _retire(self, mirror: Mirror) -> None:
        await self._write(mirror, retired_at=time.time(), writer="")

    async def _delete(self, mirror: Mirror) -> None:
        await asyncio.to_thread(self._index(mirror).delete)
        await self._mirrors.forget(mirror)
        self._copied.pop(mirror.collection, None)
        log.info("mirror_deleted", tenant=self.tenant, collection=mirror.collection)

    async def _write(self, mirror: Mirror, **changes: Any) -> Mirror:
        """Record changes of a copy. Raises Overtaken if another worker has written to its record."""
        changed = replace(mirror, **changes)
        if not await self._mirrors.write(changed, mirror):
            raise Overtaken
        return changed

    def _index(self, mirror: Mirror) -> QdrantIndex:
        return QdrantIndex(mirror.index, mirror.dimensions, self._client, mirror.collection)


def _is_before(after: Sequence[int], other: Sequence[int]) -> bool:
    """Whether `after` lacks changes of a bucket that `other` has."""
    return any(one < two for one, two in zip(after, other, strict=False))
