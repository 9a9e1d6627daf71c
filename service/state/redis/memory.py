"""Refusing events before Redis is full, so that what waits can still be folded and erased."""

import asyncio
import time

from redis.asyncio import RedisCluster

from service.errors import Overloaded, StateUnavailable
from service.logs import get_logger
from service.state.redis.client import Client
from service.state.redis.scripts import unavailable

LOOK_S = 1.0
"""How old the last look may be; looking holds no request up."""

RETRY_AFTER_S = 5.0

log = get_logger(__name__)


class MemoryReserve:
    """Keeps a part of `maxmemory` free of new events. Without `maxmemory` there is nothing to keep.

    Args:
        reserve: the part, 0..1; 0 leaves it to Redis to refuse.
    """

    def __init__(self, client: Client, reserve: float) -> None:
        self._client = client
        self._reserve = reserve
        self._short = False
        self._looked = float("-inf")
        self._looking: asyncio.Task[None] | None = None

    def check(self) -> None:
        """Raises Overloaded when a server had too little memory left at the last look, which is never awaited."""
        if time.monotonic() - self._looked >= LOOK_S and self._looking is None:
            self._looking = asyncio.create_task(self._look_aside())
        if self._short:
            detail = f"less than {self._reserve:.0%} of Redis's memory is free; send the events again later"
            raise Overloaded(detail, retry_after_s=RETRY_AFTER_S)

    async def short(self) -> bool:
        """Whether a server has too little memory left, now.

        Raises:
            StateUnavailable: Redis did not answer.
        """
        if not self._reserve:
            return False
        with unavailable():
            servers = await self._memory()
        short = any(used > (1 - self._reserve) * most for used, most in servers if most)
        if short != self._short:
            log.warning("memory_reserve", short=short)
        self._short = short
        return short

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _look_aside(self) -> None:
        try:
            await self.short()
        except StateUnavailable as error:
            # Callers with events to accept meet the same failure and report it.
            log.debug("memory_unknown", error=error.detail)
        finally:
            self._looked, self._looking = time.monotonic(), None

    async def _memory(self) -> list[tuple[int, int]]:
        """Used bytes and `maxmemory`, 0 for none, of every server that takes writes."""
        if isinstance(self._client, RedisCluster):
            found = await self._client.info("memory", target_nodes=RedisCluster.PRIMARIES)
            servers = list(found.values()) if "used_memory" not in found else [found]
        else:
            servers = [await self._client.info("memory")]
        return [(int(one["used_memory"]), int(one["maxmemory"])) for one in servers]
