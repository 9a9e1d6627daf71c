"""Follows which collection of a vector database has the vectors of one tenant."""

import time
from typing import TYPE_CHECKING

from service.index.polling import IndexFollower
from service.index.qdrant import QdrantIndex
from service.index.vector_index import VectorIndex
from service.logs import get_logger
from service.metrics import Metrics
from service.state.mirrors import Mirror, Mirrors, mirror_in_use

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

log = get_logger(__name__)


class SharedFollower(IndexFollower):
    """Searches the collection that a worker keeps equal to the index in use.

    When another index is to be used, the collection of the old one serves until that of the new one is complete.
    """

    def __init__(self, mirrors: Mirrors, client: "QdrantClient", every_s: float, metrics: Metrics, tenant: str) -> None:
        super().__init__(every_s, metrics, tenant)
        self._mirrors, self._client = mirrors, client
        self._mirror: Mirror | None = None
        self._index: VectorIndex | None = None

    def current(self) -> VectorIndex | None:
        return self._index

    async def refresh(self) -> bool:
        pointer, mirrors = await self._mirrors.read()
        if pointer is None:
            self._mirror = self._index = None
        else:
            by_name = {mirror.collection: mirror for mirror in mirrors}
            known = self._mirror and by_name.get(self._mirror.collection, self._mirror)
            self._use(mirror_in_use(pointer, mirrors) or known)
        self._show()
        return True

    def _use(self, mirror: Mirror | None) -> None:
        before, self._mirror = self._mirror, mirror
        if mirror is None:
            return
        if before is None or before.collection != mirror.collection:
            self._index = QdrantIndex(mirror.index, mirror.dimensions, self._client, mirror.collection)
            self._metrics.index_loads.labels("qdrant").inc()
            log.info("index_in_use", index=mirror.index, vectors=mirror.vectors, collection=mirror.collection)
        elif mirror.after != before.after:
            self._metrics.index_lag.observe(max(0.0, time.time() - max(mirror.after) / 1e6))

    def _show(self) -> None:
        self._vectors.set(self._mirror.vectors if self._mirror else 0)
        self._age.set(time.time() - self._mirror.checked_at if self._mirror else 0.0)
