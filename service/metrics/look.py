"""Asks Redis for what the gauges of the store show."""

import asyncio
from collections.abc import Mapping

from service.errors import StateUnavailable
from service.logs import get_logger
from service.metrics import Metrics
from service.state.embeddings import IndexCounts
from service.state.store import Store

log = get_logger(__name__)
_TIMEOUT_S = 2.0


async def look_at(stores: Mapping[str, Store], metrics: Metrics) -> None:
    """Set the gauges of what waits, of the indexes and of Redis itself; without an answer, only `redis_up`.

    `stores` are those of the tenants, by name.
    """
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            waiting = await asyncio.gather(*(store.waiting() for store in stores.values()))
            embeddings = await asyncio.gather(*(_embeddings(store) for store in stores.values()))
            updated = await asyncio.gather(*(store.cooccurrence.times.read() for store in stores.values()))
    except (StateUnavailable, TimeoutError):
        metrics.redis_up.set(0)
        return
    metrics.show_waiting(dict(zip(stores, waiting, strict=True)))
    metrics.show_embeddings({name: one for name, one in zip(stores, embeddings, strict=True) if one is not None})
    times = [one for tenant in updated for one in tenant.items()]
    metrics.show_indexes({index: max(at for other, at in times if other == index) for index, _ in times})
    store = next(iter(stores.values()))
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            metrics.show_redis(await store.servers.state())
    except (StateUnavailable, TimeoutError) as error:
        # Some servers keep INFO from their users.
        log.debug("redis_state_unknown", error=str(error))


async def _embeddings(store: Store) -> Mapping[str, IndexCounts] | None:
    """The counts of the last look at all items; None if nothing makes vectors of them."""
    return await store.embeddings.counts() if store.embedding_queue is not None else None
