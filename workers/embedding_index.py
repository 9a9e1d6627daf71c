"""Tends the indexes of vectors: finds items that lack one, swaps to the next when it is complete, drops old ones."""

import asyncio
import time

from service.errors import StateUnavailable
from service.logs import get_logger
from service.metrics import Metrics
from service.settings import Settings
from service.state.embeddings import Pointer, Scanned
from service.state.store import Store
from workers.embedders import EmbedderServers
from workers.job import JobUnavailable

log = get_logger(__name__)
_TASK = "embedding_index"
_CRASHED_S = 60.0
"""After this time another worker takes over from one that died."""
_SHARE = 0.05
"""Of the time, at most, that Redis is asked for all items."""
_MOST_FAILED = 0.05
"""Share of the items that a new embedder may fail at; with more it is not used."""


async def tend_periodically(store: Store, settings: Settings, metrics: Metrics, stop: asyncio.Event) -> None:
    """Tend the indexes of one tenant whenever this worker gets the lock, until `stop` is set.

    Args:
        settings: those of the tenant.
    """
    servers, every_s = EmbedderServers(settings, metrics), settings.embedder.check_every_s
    stopping = asyncio.create_task(stop.wait())
    while not stop.is_set():
        tending = asyncio.create_task(_tend_if_first(store, servers, metrics, every_s))
        await asyncio.wait({stopping, tending}, return_when=asyncio.FIRST_COMPLETED)
        tending.cancel()
        await asyncio.gather(tending, return_exceptions=True)
        if not tending.cancelled() and (error := tending.exception()):
            expected = isinstance(error, StateUnavailable | JobUnavailable)
            log.warning("index_not_tended", error=str(error)[:200], exc_info=None if expected else error)
        await asyncio.wait({stopping}, timeout=every_s)
    await servers.close()


async def _tend_if_first(store: Store, servers: EmbedderServers, metrics: Metrics, every_s: float) -> None:
    if not await store.locks.take(_TASK, max(every_s, _CRASHED_S)):
        return
    started, wait_s = time.monotonic(), every_s
    try:
        await tend(store, servers, metrics)
        wait_s = max(every_s, (time.monotonic() - started) / _SHARE)
    finally:
        await store.locks.hold(_TASK, wait_s)


async def tend(store: Store, servers: EmbedderServers, metrics: Metrics) -> Scanned:
    """Look at all items once.

    Raises:
        StateUnavailable: Redis did not answer.
        JobUnavailable: the model store can't be read.
    """
    embeddings, wanted = store.embeddings, await servers.wanted()
    pointer = await embeddings.pointer()
    if pointer is None and await servers.place_of(wanted):
        # The first index is used while it is filled: some items are better than none.
        pointer = await _use(store, wanted, None, metrics)
    current = pointer.current if pointer else None
    fill = [index for index in {wanted, current} if index and await servers.place_of(index)]
    scanned = Scanned()
    async for page in embeddings.scan(wanted, current, fill=fill):
        scanned += page
    await embeddings.note(scanned, same=wanted == current)
    if pointer is not None and wanted != current and _is_complete(wanted, scanned):
        await _use(store, wanted, pointer, metrics)
    await _clean(store, servers)
    return scanned


def _is_complete(wanted: str, scanned: Scanned) -> bool:
    """Whether nothing would be lost with the wanted index, except what its model can't embed."""
    counts = scanned.wanted
    total = counts.embedded + counts.failed + counts.pending
    if counts.failed - scanned.current.failed > _MOST_FAILED * total:
        log.error("embedder_not_used", version=wanted, failed=counts.failed, items=total)
        return False
    return scanned.lost == 0


async def _use(store: Store, wanted: str, instead_of: Pointer | None, metrics: Metrics) -> Pointer | None:
    pointer = await store.embeddings.use(wanted, instead_of)
    if pointer is not None:
        metrics.embedding_swaps.inc()
        log.info("embedding_index", tenant=store.tenant, index=wanted, previous=pointer.previous)
    return pointer


async def _clean(store: Store, servers: EmbedderServers) -> None:
    """Drop what is neither wanted nor in use, which may have changed during the scan, even by another worker."""
    for index in await store.embeddings.indexes():
        wanted, pointer = await servers.wanted(), await store.embeddings.pointer()
        if index == wanted or (pointer and index in (pointer.current, pointer.previous)):
            await store.embeddings.prune(index)
        else:
            await store.embeddings.drop(index)
            await store.mirrors.spoil(index)
            log.info("embedding_index_dropped", tenant=store.tenant, index=index)
