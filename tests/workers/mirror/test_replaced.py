"""A collection that may differ from Redis is replaced when another one is complete. Qdrant runs in local mode."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock

import pytest

from service.state.records import Item
from service.state.store import Store
from tests.embedded_items import ITEMS, NEW, OLD, both, by_number, failed_over, filled, old
from tests.redis_servers import admin_of
from tests.stores import embed
from tests.workers.mirror.copies import caught_up, collections, items_of, searched, vector_of, worker_of
from workers import embedding_mirror as module
from workers.embedding_index import _clean as clean

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

pytest.importorskip("qdrant_client", reason="the extra qdrant is not installed")


async def test_a_collection_that_nobody_updated_for_a_day_serves_until_a_new_one_is_complete(
    store: Store, qdrant: "QdrantClient", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAGE", 8)
    monkeypatch.setattr(module, "_PAGES_AT_ONCE", 2)
    await filled(store)
    worker = worker_of(store, qdrant)
    await caught_up(worker)
    lapsed = await searched(store)
    await store.items.delete("i3")
    await store.embeddings.prune(OLD, -60)
    now = time.time()
    monkeypatch.setattr(module.time, "time", lambda: now + 86_400)
    assert not await worker.refresh()
    assert (await searched(store)).collection == lapsed.collection
    assert len(collections(qdrant)) == 2
    await caught_up(worker)
    mirror = await searched(store)
    assert (items_of(qdrant, mirror), mirror.spoiled) == ({item.item_id for item in ITEMS} - {"i3"}, False)
    await caught_up(worker)
    assert collections(qdrant) == {mirror.collection}


async def test_the_collection_of_an_index_that_was_dropped_is_deleted(store: Store, qdrant: "QdrantClient") -> None:
    await store.items.put_many(ITEMS)
    await embed(store, both)
    pointer = await store.embeddings.use(OLD, None)
    worker = worker_of(store, qdrant)
    await caught_up(worker)
    assert len(collections(qdrant)) == 2
    await store.embeddings.use(NEW, pointer)
    await store.embeddings.drop(OLD)
    for _ in range(2):
        await caught_up(worker)
    mirror = await searched(store)
    assert (mirror.index, mirror.dimensions, collections(qdrant)) == (NEW, 4, {mirror.collection})
    _, records = await store.mirrors.read()
    assert [record.collection for record in records] == [mirror.collection]


async def test_an_index_that_was_dropped_and_filled_again_brings_no_deleted_item_back(
    store: Store, qdrant: "QdrantClient"
) -> None:
    await store.items.put_many(ITEMS)
    await embed(store, both)
    pointer = await store.embeddings.use(NEW, None)
    worker = worker_of(store, qdrant)
    await caught_up(worker)
    servers: Any = AsyncMock(wanted=AsyncMock(return_value=NEW))
    await clean(store, servers)
    assert set(await store.embeddings.indexes()) == {NEW}
    await store.items.delete("i9")
    await store.items.put_many([replace(item, title="again") for item in ITEMS if item.item_id != "i9"])
    await embed(store, both)
    await store.embeddings.use(OLD, pointer)
    await caught_up(worker)
    assert items_of(qdrant, await searched(store)) == {item.item_id for item in ITEMS} - {"i9"}


async def test_a_collection_that_has_what_a_failover_lost_is_replaced(
    store: Store, qdrant: "QdrantClient", redis_url: str
) -> None:
    await filled(store)
    worker = worker_of(store, qdrant)
    await caught_up(worker)
    before = await searched(store)
    with failed_over(redis_url):
        await store.items.delete("i3")
        await store.items.put(replace(ITEMS[7], title="other"))
        await embed(store, old)
        await caught_up(worker)
    await caught_up(worker)
    mirror = await searched(store)
    assert (mirror.collection != before.collection, len(items_of(qdrant, mirror))) == (True, 30)
    assert vector_of(qdrant, mirror, "i7") == pytest.approx(by_number(ITEMS[7]), abs=1e-3)


@pytest.mark.parametrize("redis_url", ["cluster"], indirect=True)
async def test_a_collection_that_has_what_one_master_lost_is_replaced(store: Store, qdrant: "QdrantClient") -> None:
    await filled(store)
    worker = worker_of(store, qdrant)
    await caught_up(worker)
    before = await searched(store)
    bucket = store._keys.item_bucket("i7")
    await store._scripts.run([("DECRBY", f"{bucket.stem}es", 1)])
    for _ in range(2):
        await caught_up(worker)
    assert (await searched(store)).collection != before.collection


async def test_a_collection_that_somebody_deleted_is_filled_again(store: Store, qdrant: "QdrantClient") -> None:
    await filled(store)
    worker = worker_of(store, qdrant)
    await caught_up(worker)
    lost = await searched(store)
    qdrant.delete_collection(lost.collection)
    await store.items.put(Item("i40", "new"))
    await embed(store, old)
    for _ in range(2):
        await caught_up(worker)
    mirror = await searched(store)
    assert (mirror.collection != lost.collection, len(items_of(qdrant, mirror))) == (True, 31)
    _, records = await store.mirrors.read()
    assert [record.collection for record in records] == [mirror.collection]


async def test_a_redis_that_was_emptied_gets_a_collection_of_its_own(
    store: Store, qdrant: "QdrantClient", redis_url: str
) -> None:
    await filled(store)
    worker = worker_of(store, qdrant)
    await caught_up(worker)
    before = await searched(store)
    with admin_of(redis_url) as admin:
        admin.flushall()
    await caught_up(worker)
    await store.items.put(Item("i1", "t"))
    await embed(store, old)
    await store.embeddings.use(OLD, None)
    await caught_up(worker)
    mirror = await searched(store)
    assert (mirror.collection != before.collection, items_of(qdrant, mirror)) == (True, {"i1"})
