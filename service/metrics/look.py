"""Asks Redis for what the gauges of the store show."""

import asyncio

from service.errors import StateUnavailable
from service.logs import get_logger
from service.metrics import Metrics
from service.state.store import Store

log = get_logger(__name__)
_TIMEOUT_S = 2.0


async def look_at(store: Store, metrics: Metrics) -> None:
    """Set the gauges of what waits, of the indexes and of Redis itself; without an answer, only `redis_up`."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            waiting, updated = await asyncio.gather(store.waiting(), store.cooccurrence.times.read())
    except (StateUnavailable, TimeoutError):
        metrics.redis_up.set(0)
        return
    metrics.show_waiting(waiting)
    metrics.show_indexes(updated)
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            metrics.show_redis(await store.servers.state())
    except (StateUnavailable, TimeoutError) as error:
        # Some servers keep INFO from their users.
        log.debug("redis_state_unknown", error=str(error))
