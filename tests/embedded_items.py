"""Items with vectors of two versions, in a store whose embedder is never asked."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager

import numpy as np

from service.settings import Settings
from service.settings.engines import EmbedderSettings
from service.settings.state import StateSettings
from service.state.embeddings import Pointer
from service.state.records import Item
from service.state.store import Store
from tests.redis_servers import admin_of
from tests.stores import embed

OLD, NEW = "embedder@1", "embedder@2"
ITEMS = [Item(f"i{number}", f"title {number}") for number in range(30)]


@asynccontextmanager
async def embedding_store(redis_url: str, buckets: int = 4) -> AsyncIterator[Store]:
    embedder = EmbedderSettings(url="http://127.0.0.1:1", version=OLD)
    state = StateSettings(buckets=buckets, redis_timeout_s=20)
    store = Store(Settings(redis_url=redis_url, embedder=embedder, state=state))
    yield store
    await store.close()


def by_number(item: Item) -> Sequence[float]:
    """Items with near numbers have near vectors."""
    angle = int(item.item_id[1:]) / 20 + (1 if "other" in item.title else 0)
    return [float(np.cos(angle)), float(np.sin(angle))]


def old(item: Item) -> Mapping[str, Sequence[float]]:
    return {OLD: by_number(item)}


def both(item: Item) -> Mapping[str, Sequence[float]]:
    return {OLD: by_number(item), NEW: [1.0, 0.0, *by_number(item)]}


async def filled(store: Store, vectors: Callable[[Item], Mapping[str, Sequence[float]]] = old) -> Pointer:
    """A catalogue of which OLD is in use."""
    await store.items.put_many(ITEMS)
    assert await embed(store, vectors) == len(ITEMS)
    pointer = await store.embeddings.use(OLD, None)
    assert pointer is not None
    return pointer


@contextmanager
def failed_over(redis_url: str) -> Iterator[None]:
    """What is written meanwhile is lost in the end, as by a failover to a replica that has none of it."""
    with admin_of(redis_url) as admin:
        replica = {key: admin.dump(key) for key in admin.scan_iter()}
        yield
        admin.flushall()
        for key, kept in replica.items():
            admin.restore(key, 0, kept)
