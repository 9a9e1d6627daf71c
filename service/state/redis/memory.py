"""Refuses events before Redis is full, so that pending events can still be folded and users deleted."""

import asyncio
import time

from service.errors import Overloaded, StateUnavailable
from service.logs import get_logger
from service.state.redis.servers import Servers

CHECK_INTERVAL_S = 1.0
RETRY_AFTER_S = 5.0

log = get_logger(__name__)


class MemoryReserve:
    """Keeps a part of `maxmemory` free of new events; does nothing where Redis has no `maxmemory`.

    Args:
        reserve: the part, 0..1. With 0, events are refused only when Redis is full.
    """

    def __init__(self, servers: Servers, reserve: float) -> None:
        self._servers = servers
        self._reserve = reserve
        self._short = False
        self._checked_at = float("-inf")
        self._checking: asyncio.Task[None] | None = None

    def check(self) -> None:
        """Raises Overloaded if a server was short of memory at the last check. Checks run in the background."""
        if time.monotonic() - self._checked_at >= CHECK_INTERVAL_S and self._checking is None:
            self._checking = asyncio.create_task(self._check_memory())
        if self._short:
            detail = f"less than {self._reserve:.0%} of Redis's memory is free; send the events again later"
            raise Overloaded(detail, retry_after_s=RETRY_AFTER_S)

    async def short(self) -> bool:
        """Whether a server is short of memory now. Raises StateUnavailable if Redis does not answer."""
        if not self._reserve:
            return False
        memory = await self._servers.memory()
        short = any(used > (1 - self._reserve) * maximum for used, maximum in memory if maximum)
        if short != self._short:
            log.warning("memory_reserve", short=short)
        self._short = short
        return short

    async def close(self) -> None:
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.gather(self._checking, return_exceptions=True)

    async def _check_memory(self) -> None:
        try:
            await self.short()
        except StateUnavailable as error:
            # Callers that send events get the same failure and report it.
            log.debug("memory_unknown", error=error.detail)
        finally:
            self._checked_at, self._checking = time.monotonic(), None
