"""The collections of Qdrant have what the indexes in Redis have, whichever worker copies. Qdrant runs in local mode."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from service.state.mirrors import mirror_in_use
from service.state.records import Item
from service.state.store import Store
from tests.embedded_items import ITEMS, OLD, by_number, filled, old
from tests.redis_servers import on_both
from tests.stores import embed
from tests.workers.conftest import until
from tests.workers.mirror.copies import (
    caught_up,
    collections,
    hand_over,
    is_so,
    items_of,
    searched,
    vector_of,
    worker_of,
)
from workers import embedding_mirror as module
from workers.embedding_mirror import Overtaken, mirror_periodically

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

pytest.importorskip("qdrant_client", reason="the extra qdrant is not installed")


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
        await until(lambda: is_so("index_not_mirrored" in [entry["event"] for entry in logs]))
    setattr(qdrant, failing, works)

    async def repaired() -> bool:
        return (await searched(store)).vectors == 30 and not (await searched(store)).writer

    await until(repaired)
    stop.set()
    await task
    assert items_of(qdrant, await searched(store)) == {item.item_id for item in [*ITEMS, Item("i40", "")]} - {"i3"}
    assert (await searched(store)).collection == mirror.collection
    assert await worker_of(store, qdrant).refresh(), "the lock is free"


async def test_each_tenant_has_collections_of_its_own(store: Store, qdrant: "QdrantClient") -> None:
    for one, item in ((store, "i1"), (other := store.of("shop"), "i2")):
        await one.items.put(Item(item, "t"))
        await embed(one, old)
        await one.embeddings.use(OLD, None)
        await caught_up(worker_of(one, qdrant))
    assert items_of(qdrant, await searched(store)) == {"i1"}
    assert items_of(qdrant, await searched(other)) == {"i2"}
