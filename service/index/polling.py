"""What every follower of an index does: look at Redis again and again."""

import asyncio
import random
from abc import ABC, abstractmethod
from contextlib import suppress

from service.errors import StateUnavailable
from service.index.vector_index import VectorIndex
from service.logs import get_logger
from service.metrics import Metrics

log = get_logger(__name__)
_START_S = 1.0
_JITTER = 0.1


class IndexFollower(ABC):
    """Keeps up with the index of one tenant that is in use. A request takes `current()` once, and so never mixes the
    vectors of two versions.

    Args:
        every_s: the interval.
        tenant: the label of its series.
    """

    def __init__(self, every_s: float, metrics: Metrics, tenant: str) -> None:
        self._every_s, self._metrics = every_s, metrics
        self._vectors = metrics.index_vectors.labels(tenant)
        self._age = metrics.index_age.labels(tenant)
        self._task: asyncio.Task[None] | None = None
        self._failure = ""

    @abstractmethod
    def current(self) -> VectorIndex | None:
        """The index to search now; None while there is none."""

    @abstractmethod
    async def refresh(self) -> bool:
        """Read what changed. True if there is nothing more to read now.

        Raises:
            StateUnavailable: Redis did not answer; the index stays as it is.
        """

    @abstractmethod
    def _show(self) -> None:
        """Set the gauges."""

    async def start(self) -> None:
        """Follow until `close`. Returns when an index is in use, or after a second."""
        followed = asyncio.Event()
        self._task = asyncio.create_task(self._run(followed))
        with suppress(TimeoutError):
            async with asyncio.timeout(_START_S):
                await followed.wait()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, followed: asyncio.Event) -> None:
        while True:
            caught_up = True
            try:
                caught_up = await self.refresh()
                self._failure = ""
            except StateUnavailable as error:
                if error.detail != self._failure:
                    log.warning("index_not_read", error=error.detail)
                self._failure = error.detail
            except Exception:
                log.exception("index_failed")
            if caught_up:
                followed.set()
                await asyncio.sleep(self._every_s * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311
            self._show()
