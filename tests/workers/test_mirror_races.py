"""Workers that lose the lock at any moment, and write late, leave no collection that is trusted and wrong."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from service.index.qdrant import QdrantIndex, open_qdrant
from service.metrics import Metrics
from service.state.mirrors import mirror_in_use
from service.state.records import Item
from service.state.store import Store
from tests.embedded_items import OLD, embedding_store
from tests.stores import embed
from workers import embedding_mirror as module
from workers.embedding_mirror import Mirroring, Overtaken

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

pytest.importorskip("qdrant_client", reason="the extra qdrant is not installed")
ITEMS, WORKERS, CHANGES = 2, 3, 8


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    async with embedding_store(redis_url, buckets=2) as store:
        yield store


class Late:
    """A client whose writes wait for a random time before they arrive."""

    def __init__(self, client: "QdrantClient", chance: random.Random) -> None:
        self._client, self._chance = client, chance

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def upsert(self, *arguments: Any, **options: Any) -> Any:
        time.sleep(self._chance.choice([0, 0, 0.04]))
        return self._client.upsert(*arguments, **options)

    def delete(self, *arguments: Any, **options: Any) -> Any:
        time.sleep(self._chance.choice([0, 0, 0.04]))
        return self._client.delete(*arguments, **options)


async def follow(worker: Mirroring, done: asyncio.Event) -> None:
    while not done.is_set():
        with suppress(Overtaken):
            await worker.refresh()
        await asyncio.sleep(0)


@pytest.mark.parametrize("seed", range(12))
async def test_what_is_searched_in_the_end_is_what_redis_has(
    store: Store, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(module, "_PAGE", 4)
    monkeypatch.setattr(module, "_LOOK_S", 0.0)
    monkeypatch.setattr(module, "_FRESH_S", 0.0)
    chance, client, done = random.Random(seed), open_qdrant(":memory:"), asyncio.Event()
    await store.items.put_many([Item(f"i{number}", "first") for number in range(ITEMS)])
    await embed(store, lambda _: {OLD: [1.0, 0.0]})
    pointer = await store.embeddings.use(OLD, None)
    assert pointer is not None
    workers = [Mirroring(store, Late(client, chance), Metrics(), asyncio.Semaphore(1)) for _ in range(WORKERS)]  # type: ignore[arg-type]
    following = [asyncio.create_task(follow(worker, done)) for worker in workers]
    for change in range(CHANGES):
        item = f"i{chance.randrange(ITEMS)}"
        if chance.random() < 0.2:
            await store.items.delete(item)
        else:
            await store.items.put(Item(item, f"title {change}"))
            await embed(store, lambda _, change=change: {OLD: [float(np.cos(change)), float(np.sin(change))]})
        if chance.random() < 0.5:
            await store._scripts.run([("DEL", store._keys.lock("embedding_mirror"))])
        await asyncio.sleep(chance.choice([0, 0.01, 0.03]))
    done.set()
    await asyncio.gather(*following)
    for worker in workers[1:]:
        await worker.close()
    await store._scripts.run([("DEL", store._keys.lock("embedding_mirror"))])
    while not await workers[0].refresh() or (found := mirror_in_use(pointer, (await store.mirrors.read())[1])) is None:
        pass
    assert not found.spoiled
    in_redis = {
        change.item_id: np.frombuffer(change.vector, np.float16).tolist()
        for change in (await store.embeddings.changes(OLD, [0, 0], 1000)).changes
        if change.vector is not None
    }
    index = QdrantIndex(OLD, 2, client, found.collection)
    assert len(index) == len(in_redis)
    rows, _ = index.rows(list(in_redis))
    np.testing.assert_allclose(rows, np.reshape(list(in_redis.values()), (-1, 2)), atol=1e-3)
    client.close()
