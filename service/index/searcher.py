"""Searches in threads, so that a large index does not hold up other requests."""

import asyncio
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.index.vector_index import Found, VectorIndex
from service.metrics import Metrics

T = TypeVar("T")
_THREADS = 2
"""More would only compete: a search reads all vectors, as fast as the memory gives them."""


class Searcher:
    """One for all tenants of a process."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(_THREADS, "search-vectors")

    async def search(
        self,
        index: VectorIndex,
        queries: NDArray[np.floating[Any]],
        k: int,
        *,
        allowed: Collection[str] | None = None,
        excluded: Collection[str] = (),
    ) -> list[Found]:
        """See `VectorIndex.search`. The caller takes the index from a follower once per request."""

        def timed() -> list[Found]:
            started = time.perf_counter()
            try:
                return index.search(queries, k, allowed=allowed, excluded=excluded)
            finally:
                self._metrics.index_search_seconds.observe(time.perf_counter() - started)

        return await self.run(timed)

    async def run(self, search: Callable[[], T]) -> T:
        """Run another search in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, search)

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
