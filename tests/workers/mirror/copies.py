"""Workers that mirror, and what their collections have."""

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np

from service.index.qdrant import QdrantIndex
from service.metrics import Metrics
from service.state.mirrors import Mirror, mirror_in_use
from service.state.store import Store
from workers.embedding_mirror import Mirroring

if TYPE_CHECKING:
    from qdrant_client import QdrantClient


def worker_of(store: Store, client: Any) -> Mirroring:
    return Mirroring(store, client, Metrics(), asyncio.Semaphore(1))


async def caught_up(worker: Mirroring) -> None:
    while not await worker.refresh():
        pass


async def searched(store: Store) -> Mirror:
    """The collection that gateways search."""
    pointer, mirrors = await store.mirrors.read()
    assert pointer is not None
    found = mirror_in_use(pointer, mirrors)
    assert found is not None
    return found


def items_of(client: "QdrantClient", mirror: Mirror) -> set[str]:
    index = QdrantIndex(mirror.index, mirror.dimensions, client, mirror.collection)
    (found,) = index.search(np.ones((1, mirror.dimensions)), 100)
    return set(found.ids)


def vector_of(client: "QdrantClient", mirror: Mirror, item: str) -> list[float]:
    rows, _ = QdrantIndex(mirror.index, mirror.dimensions, client, mirror.collection).rows([item])
    return [float(number) for number in rows[0]]


def collections(client: "QdrantClient") -> set[str]:
    return {one.name for one in client.get_collections().collections}


async def hand_over(store: Store) -> None:
    """As if the worker that has the lock were silent for so long that it expired."""
    await store._scripts.run([("DEL", store._keys.lock("embedding_mirror"))])


async def is_so(condition: bool) -> bool:
    return condition
