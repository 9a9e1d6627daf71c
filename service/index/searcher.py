"""Searches in threads, so that a large index, or one on a server, does not hold up other requests."""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.index.rows import NO_ROWS, Rows
from service.index.vector_index import Found, IndexUnavailable, VectorIndex
from service.logs import get_logger
from service.metrics import Metrics

T = TypeVar("T")
log = get_logger(__name__)
_COMPUTING = 2
"""More would only compete: a search reads all vectors, as fast as the memory gives them."""
_WAITING = 16
"""For indexes on a server."""
_DEPENDENCY = "vectors"


class Searcher:
    """One for all tenants of a process."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._computing = ThreadPoolExecutor(_COMPUTING, "search-vectors")
        self._waiting = ThreadPoolExecutor(_WAITING, "await-vectors")

    async def run(self, search: Callable[[], T]) -> T:
        """Run a search that calls no index in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._computing, search)

    async def read(self, index: VectorIndex, read: Callable[[], T], within_s: float) -> T:
        """Run `read`, with all its calls of the index, in one thread.

        The caller takes the index from a follower once per request.

        Raises:
            IndexUnavailable: it is, or `read` takes longer than `within_s` seconds; that is counted and logged.
        """
        threads = self._waiting if index.remote else self._computing
        try:
            async with asyncio.timeout(within_s):
                return await asyncio.get_running_loop().run_in_executor(threads, read)
        except (IndexUnavailable, TimeoutError) as error:
            self._metrics.dependency_failures.labels(_DEPENDENCY).inc()
            reason = str(error) or f"no answer within {within_s:.3g} s"
            log.warning("dependency_skipped", dependency=_DEPENDENCY, error=reason)
            raise IndexUnavailable(reason) from error

    async def rows(self, index: VectorIndex | None, ids: Sequence[str], within_s: float) -> Rows:
        """The vectors of items; none without an index.

        Looking them up in memory takes less time than a thread takes to wake up, so that happens here.

        Raises:
            IndexUnavailable: as `read` does.
        """
        if index is None or not ids:
            return NO_ROWS
        if not index.remote:
            return Rows.read(index, ids)
        return await self.read(index, lambda: Rows.read(index, ids), within_s)

    def search(
        self, index: VectorIndex, queries: NDArray[np.floating[Any]], k: int, excluded: Collection[str] = ()
    ) -> list[Found]:
        """Search and measure the time, see `VectorIndex.search`. It blocks: call it in what `read` runs."""
        started = time.perf_counter()
        try:
            return index.search(queries, k, excluded=excluded)
        finally:
            self._metrics.index_search_seconds.observe(time.perf_counter() - started)

    async def close(self) -> None:
        for threads in (self._computing, self._waiting):
            threads.shutdown(wait=False, cancel_futures=True)
