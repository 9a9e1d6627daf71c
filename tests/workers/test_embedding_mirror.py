"""The collections of Qdrant have what the indexes in Redis have, whichever worker copies. Qdrant runs in local mode."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock

import numpy as np
import pytest
import structlog

from service.index.qdrant import QdrantIndex, open_qdrant
from service.index.shared import SharedFollower
from service.metrics import Metrics
from service.settings import Settings
from service.settings.engines import EmbedderSettings
from service.settings.state import StateSettings
from service.state.embeddings import Pointer
from service.state.mirrors import Mirror, mirror_in_use
from service.state.records import Item
from service.state.store import Store
from tests.redis_servers import admin_of, on_both
from tests.stores import embed
from tests.workers.conftest import until
from workers import embedding_mirror as module
from workers.embedding_index import _clean as clean
from workers.embedding_mirror import Mirroring, Overtaken, mirror_periodically

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

pytest.importorskip("qdrant_client", reason="the extra qdrant is not installed")
OLD, NEW = "embedder@1", "embedder@2"
ITEMS = [Item(f"i{number}", f"title {number}") for number in range(30)]


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    embedder = EmbedderSettings(url="http://127.0.0.1:1", version=OLD)
    state = StateSettings(buckets=4, redis_timeout_s=20)
    store = Store(Settings(redis_url=redis_url, embedder=embedder, state=state))
    yield store
    await store.close()


@pytest.fixture
def qdrant() -> Iterator["QdrantClient"]:
    client = open_qdrant(":memory:")
    yield client
    client.close()


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """New indexes are noticed at once, and what was replaced is deleted in the next round."""
    monkeypatch.setattr(module, "_LOOK_S", 0.0)
    monkeypatch.setattr(module, "_RETIRED_S", 0.0)


def by_number(item: Item) -> Sequence[float]:
    """Items with near numbers have near vectors."""
    angle = int(item.item_id[1:]) / 20 + (1 if "other" in item.title else 0)
    return [float(np.cos(angle)), float(np.sin(angle))]


def old(item: Item) -> Mapping[str, Sequence[float]]:
    return {OLD: by_number(item)}


def both(item: Item) -> Mapping[str, Sequence[float]]:
    return {OLD: by_number(item), NEW: [1.0, 0.0, *by_number(item)]}


async def filled(store: Store) -> Pointer:
    """A catalogue of which OLD is in use."""
    await store.items.put_many(ITEMS)
    assert await embed(store, old) == len(ITEMS)
    pointer = await store.embeddings.use(OLD, None)
    assert pointer is not None
    return pointer


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


@on_both
async def test_a_collection_is_filled_and_follows_changes_and_removals(
    store: Store, qdrant: "QdrantClient", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAGE", 8)
    monkeypatch.setattr(module, "_PAGES_AT_ONCE", 2)
    worker = worker_of(store, qdrant)
    await caught_up(worker)
    assert collections(qdrant) == set(), "nothing is in use yet"
    pointer = await filled(store)
    assert not await worker.refresh()
    _, (half,) = await store.mirrors.read()
    assert mirror_in_use(pointer, [half]) is None, "half of the vectors are not searched"
    await caught_up(worker)
    mirror = await searched(store)
    assert items_of(qdrant, mirror) == {item.item_id for item in ITEMS}
    assert (mirror.vectors, mirror.writer, mirror.collection) == (30, "", half.collection)
    await store.items.put(replace(ITEMS[7], title="other"))
    await store.items.delete("i9")
    await embed(store, old)
    await caught_up(worker)
    mirror = await searched(store)
    assert items_of(qdrant, mirror) == {item.item_id for item in ITEMS} - {"i9"}
    assert vector_of(qdrant, mirror, "i7") == pytest.approx(by_number(Item("i7", "other")), abs=1e-3)
    assert (mirror.vectors, collections(qdrant)) == (29, {mirror.collection})


async def test_another_worker_goes_on_where_the_first_stopped(
    store: Store, qdrant: "QdrantClient", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAGE", 8)
    monkeypatch.setattr(module, "_PAGES_AT_ONCE", 1)
    await filled(store)
    first, second = worker_of(store, qdrant), worker_of(store, qdrant)
    await first.refresh()
    assert await second.refresh(), "the lock is the other's"
    _, (half,) = await store.mirrors.read()
    await first.close()
    await caught_up(second)
    mirror = await searched(store)
    assert (mirror.collection, len(items_of(qdrant, mirror))) == (half.collection, 30)
    assert second._metrics.registry.get_sample_value(
        "tastestream_index_changes_total", {"outcome": "upserted"}
    ) == pytest.approx(30 - 8, abs=4)


class Slow:
    """A client whose next upsert waits, as if the process were paused just before it."""

    def __init__(self, client: "QdrantClient") -> None:
        self._client = client
        self.meanwhile: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def upsert(self, *arguments: Any, **options: Any) -> Any:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            asyncio.run_coroutine_threadsafe(meanwhile(), self.loop).result(60)
        return self._client.upsert(*arguments, **options)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def bind(self) -> "Slow":
        self._loop = asyncio.get_running_loop()
        return self


async def test_a_late_write_of_a_worker_that_lost_the_lock_reaches_no_collection_that_is_trusted(
    store: Store, qdrant: "QdrantClient"
) -> None:
    await filled(store)
    slow = Slow(qdrant).bind()
    first, second = worker_of(store, slow), worker_of(store, qdrant)
    await caught_up(first)
    spoiled = await searched(store)

    async def overtake() -> None:
        """While the first worker is about to write an old vector of i7, the second one writes a newer one."""
        await store.items.put(replace(ITEMS[7], title="other 2"))
        await embed(store, lambda _: {OLD: [0.0, -1.0]})
        await hand_over(store)
        await caught_up(second)

    slow.meanwhile = overtake
    await store.items.put(replace(ITEMS[7], title="other"))
    await embed(store, old)
    with pytest.raises(Overtaken):
        await first.refresh()
    assert vector_of(qdrant, spoiled, "i7") != [0.0, -1.0], "the late write did harm"
    mirror = await searched(store)
    assert mirror.collection != spoiled.collection
    assert vector_of(qdrant, mirror, "i7") == [0.0, -1.0]
    await caught_up(second)
    assert collections(qdrant) == {mirror.collection}


async def test_a_worker_that_lost_the_lock_before_it_wrote_does_no_harm(store: Store, qdrant: "QdrantClient") -> None:
    await filled(store)
    first, second = worker_of(store, qdrant), worker_of(store, qdrant)
    await caught_up(first)
    read = store.mirrors.read

    async def overtaken() -> Any:
        found = await read()
        store.mirrors.read = read  # type: ignore[method-assign]
        await hand_over(store)
        await caught_up(second)
        await hand_over(store)
        return found

    store.mirrors.read = overtaken  # type: ignore[method-assign]
    await store.items.put(Item("i40", "new"))
    await embed(store, old)
    before = await read()
    with pytest.raises(Overtaken):
        await first.refresh()
    mirror = await searched(store)
    assert (mirror.collection, mirror.spoiled) == (before[1][0].collection, False)
    assert "i40" in items_of(qdrant, mirror)


@pytest.mark.parametrize("failing", ["upsert", "delete"])
async def test_a_page_that_failed_is_copied_again(store: Store, qdrant: "QdrantClient", failing: str) -> None:
    from qdrant_client.http.exceptions import ResponseHandlingException

    await filled(store)
    worker = worker_of(store, qdrant)
    await caught_up(worker)
    mirror = await searched(store)
    await store.items.put(Item("i40", "new"))
    await store.items.delete("i3")
    await embed(store, old)
    works = getattr(qdrant, failing)

    def fail(*_: Any, **__: Any) -> None:
        raise ResponseHandlingException(TimeoutError())

    setattr(qdrant, failing, fail)
    stop = asyncio.Event()
    task = asyncio.create_task(mirror_periodically(worker, 0.01, stop))
    with structlog.testing.capture_logs() as logs:
        await until(lambda: _is("index_not_mirrored" in [entry["event"] for entry in logs]))
    setattr(qdrant, failing, works)

    async def repaired() -> bool:
        return (await searched(store)).vectors == 30 and not (await searched(store)).writer

    await until(repaired)
    stop.set()
    await task
    assert items_of(qdrant, await searched(store)) == {item.item_id for item in [*ITEMS, Item("i40", "")]} - {"i3"}
    assert (await searched(store)).collection == mirror.collection
    assert await worker_of(store, qdrant).refresh(), "the lock is free"


async def _is(condition: bool) -> bool:
    return condition


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
    with admin_of(redis_url) as admin:
        replica = {key: admin.dump(key) for key in admin.scan_iter()}
        await store.items.delete("i3")
        await store.items.put(replace(ITEMS[7], title="other"))
        await embed(store, old)
        await caught_up(worker)
        admin.flushall()
        for key, kept in replica.items():
            admin.restore(key, 0, kept)
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


async def test_each_tenant_has_collections_of_its_own(store: Store, qdrant: "QdrantClient") -> None:
    for one, item in ((store, "i1"), (other := store.of("shop"), "i2")):
        await one.items.put(Item(item, "t"))
        await embed(one, old)
        await one.embeddings.use(OLD, None)
        await caught_up(worker_of(one, qdrant))
    assert items_of(qdrant, await searched(store)) == {"i1"}
    assert items_of(qdrant, await searched(other)) == {"i2"}


class TestGateways:
    async def test_a_gateway_changes_over_when_the_collection_is_complete(
        self, store: Store, qdrant: "QdrantClient", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        metrics = Metrics()
        gateway = SharedFollower(store.mirrors, qdrant, 0.02, metrics, "default")
        worker = worker_of(store, qdrant)
        pointer = await filled(store)
        await gateway.refresh()
        assert gateway.current() is None
        await caught_up(worker)
        await gateway.start()
        old_index = gateway.current()
        assert old_index is not None
        assert (old_index.version, len(old_index)) == (OLD, 30)
        await store.items.put_many([replace(item, title="other") for item in ITEMS])
        await embed(store, both)
        await store.embeddings.use(NEW, pointer)
        await gateway.refresh()
        assert gateway.current() is old_index
        monkeypatch.setattr(module, "_PAGE", 8)
        monkeypatch.setattr(module, "_PAGES_AT_ONCE", 1)
        assert not await worker.refresh()
        await gateway.refresh()
        assert gateway.current() is old_index, "the new one is not complete"
        await caught_up(worker)
        await until(lambda: _is((index := gateway.current()) is not None and index.version == NEW))
        await store.items.put(Item("i40", "new"))
        await embed(store, both)
        await caught_up(worker)
        index = gateway.current()
        assert index is not None
        assert (index.dimensions, len(index)) == (4, 31)
        value = metrics.registry.get_sample_value
        await until(lambda: _is(value("tastestream_index_vectors", {"tenant": "default"}) == 31))
        assert (value("tastestream_index_lag_seconds_count") or 0) >= 1
        assert value("tastestream_index_loads_total", {"source": "qdrant"}) == 2
        await gateway.close()

    async def test_the_age_of_an_index_that_no_worker_updates_grows(
        self, store: Store, qdrant: "QdrantClient", redis_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        metrics = Metrics()
        gateway = SharedFollower(store.mirrors, qdrant, 0.02, metrics, "default")
        await filled(store)
        await caught_up(worker_of(store, qdrant))
        now = time.time()
        monkeypatch.setattr("service.index.shared.time.time", lambda: now + 600)
        await gateway.refresh()
        age = metrics.registry.get_sample_value("tastestream_index_age_seconds", {"tenant": "default"})
        assert age == pytest.approx(600, abs=30)
        with admin_of(redis_url) as admin:
            admin.flushall()
        await gateway.refresh()
        assert gateway.current() is None
