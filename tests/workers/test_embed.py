"""Items get the vectors they lack, and another version takes over during searches. The model server is a double."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_store.engine.breaker import State
from model_store.registry.registry import Registry
from service.index.follower import Follower
from service.metrics import Metrics
from service.settings import Settings
from service.settings.engines import EmbedderSettings
from service.settings.tenants import EncodedChoice, TenantSettings
from service.state.embeddings import IndexCounts, Scanned
from service.state.records import Item
from service.state.store import Store
from tests.redis_servers import on_both
from tests.service.serving import serving
from tests.stores import dead_letters, embed
from tests.workers import embedder_double as double
from tests.workers.conftest import Start, Worker, until
from tests.workers.doubles import RecordingSummarizer
from tests.workers.embedder_double import EmbedServer, version
from workers.embedders import EmbedderServers
from workers.embedding_index import tend

pytestmark = pytest.mark.usefixtures("quick_embedders")
OLD, NEW = version(1), version(2)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return double.model_store(tmp_path / "models", 1, 2, 3)


@pytest.fixture
async def server() -> AsyncIterator[EmbedServer]:
    return EmbedServer()


@pytest.fixture
async def settings(settings: Settings, server: EmbedServer, registry: Registry) -> AsyncIterator[Settings]:
    async with serving(server.app()) as url:
        yield double.asking(settings, url, registry)


def films(count: int, first: int = 0) -> list[Item]:
    return [Item(f"i{number}", f"film {number}") for number in range(first, first + count)]


async def sizes(store: Store) -> dict[str, int]:
    return {index: await store.embeddings.size(index) for index in await store.embeddings.indexes()}


async def in_use(store: Store) -> str | None:
    pointer = await store.embeddings.pointer()
    return pointer.current if pointer else None


@contextlib.asynccontextmanager
async def following(store: Store) -> AsyncIterator[Follower]:
    follower = Follower(store.embeddings, None, 0.02, Metrics(), "default")
    await follower.start()
    yield follower
    await follower.close()


@on_both
async def test_every_item_gets_its_vector_and_a_changed_one_another(
    store: Store, start: Start, server: EmbedServer
) -> None:
    await store.items.put_many(films(20))
    worker = await start(RecordingSummarizer())
    await until(lambda: _are(store, {OLD: 20}))
    await until(lambda: _uses(store, OLD))
    async with following(store) as follower:
        await store.items.put(Item("i3", "film 300"))

        async def replaced() -> bool:
            index = follower.current()
            expected = np.array([double.vector(1, "film 300")], dtype=np.float16)
            return index is not None and bool(np.array_equal(index.rows(["i3"])[0], expected))

        await until(replaced)
    assert worker.count("embed", "committed") == len(server.asked) == 21


async def _are(store: Store, expected: dict[str, int]) -> bool:
    return await sizes(store) == expected


async def _uses(store: Store, index: str) -> bool:
    return await in_use(store) == index


async def test_items_from_before_there_was_an_embedder_are_found(
    store: Store, start: Start, settings: Settings
) -> None:
    without = Store(settings.model_copy(update={"embedder": EmbedderSettings()}))
    await without.items.put_many(films(20))
    await without.close()
    await start(RecordingSummarizer())
    await until(lambda: _are(store, {OLD: 20}))


async def test_a_tenant_without_an_embedder_has_no_items_that_wait(settings: Settings) -> None:
    own = EncodedChoice(url=settings.embedder.url, version=double.NAME)
    tenants = {"shop": TenantSettings(embedder=own)}
    embedder = EmbedderSettings(check_every_s=0.05)
    worker = Worker(settings.model_copy(update={"embedder": embedder, "tenants": tenants}), RecordingSummarizer())
    store = Store(settings)
    shop = store.of("shop")
    for one in (store, shop):
        await one.items.put_many(films(10))

    async def settled() -> bool:
        waiting = [await one.embedding_queue.count() for one in (store, shop) if one.embedding_queue]
        return waiting == [0, 0]

    await until(settled)
    assert (await sizes(store), await sizes(shop)) == ({}, {OLD: 10})
    await worker.drain()
    await store.close()


async def test_an_item_that_the_model_rejects_is_dead_lettered_and_the_others_are_embedded(
    store: Store, start: Start, server: EmbedServer
) -> None:
    server.status["poison"] = 400
    await store.items.put_many([*films(5), Item("bad", "poison")])
    worker = await start(RecordingSummarizer())

    async def settled() -> bool:
        return await sizes(store) == {OLD: 5} and await store.dead_letters.count() == 1

    await until(settled)
    (letter,) = await dead_letters(store)
    assert (letter.kind, letter.key, letter.reason) == ("embed", "bad", "engine_rejected")

    async def counted() -> bool:
        return await store.embeddings.counts() == {"current": IndexCounts(embedded=5, failed=1)}

    await until(counted)
    server.status.clear()
    await store.dead_letters.retry(letter.id)
    await until(lambda: _are(store, {OLD: 6}))
    assert worker.count("embed", "committed") == 6


async def test_while_the_server_is_down_no_item_is_given_up(store: Store, start: Start, server: EmbedServer) -> None:
    server.down = True
    await store.items.put_many(films(5))
    worker = await start(RecordingSummarizer())

    async def tried() -> bool:
        return worker.count("embed", "released") > 3

    await until(tried)
    server.down = False
    await until(lambda: _are(store, {OLD: 5}))
    assert await store.dead_letters.count() == 0


async def test_the_breaker_of_a_server_that_fails_is_shown(store: Store, start: Start, server: EmbedServer) -> None:
    server.status["film"] = 500
    await store.items.put_many(films(20))
    worker = await start(RecordingSummarizer())

    async def is_shown(state: State) -> bool:
        series = "tastestream_breaker_state"
        return worker.metrics.registry.get_sample_value(series, {"engine": "embedder"}) == state

    await until(lambda: is_shown(State.OPEN))
    info = {"role": "embedder", "model": OLD, "mode": "embed"}
    assert worker.metrics.registry.get_sample_value("tastestream_model_info", info) == 1
    server.status.clear()
    await until(lambda: is_shown(State.CLOSED))
    await until(lambda: _are(store, {OLD: 20}))


async def test_a_vector_of_another_width_is_dead_lettered_with_a_stable_reason(
    store: Store, start: Start, server: EmbedServer
) -> None:
    queue = store.embedding_queue
    assert queue is not None
    await store.items.put(Item("i1", "film 1"))
    (claim,) = await queue.claim(1)
    # As by a version whose dimensions were changed in place.
    assert await queue.commit(claim, {OLD: b"1234"})
    await store.items.put(Item("i1", "film 2"))
    await start(RecordingSummarizer())

    async def given_up() -> bool:
        return await store.dead_letters.count() == 1

    await until(given_up)
    assert [(letter.kind, letter.reason) for letter in await dead_letters(store)] == [("embed", "embedding_width")]


async def test_a_failing_new_version_costs_the_index_in_use_nothing(
    store: Store, start: Start, server: EmbedServer, registry: Registry
) -> None:
    await store.items.put_many(films(10))
    await start(RecordingSummarizer())
    await until(lambda: _uses(store, OLD))
    await until(lambda: _are(store, {OLD: 10}))
    registry.promote(double.NAME, 2)
    await store.items.put_many(films(10, 10))
    await until(lambda: _are(store, {OLD: 20}))
    assert await in_use(store) == OLD, "no server serves the new version"
    server.serves = [OLD, NEW]
    await until(lambda: _uses(store, NEW))
    assert await sizes(store) == {OLD: 20, NEW: 20}


async def test_what_one_version_could_make_is_committed_while_the_server_of_another_fails(
    store: Store, start: Start, server: EmbedServer, registry: Registry
) -> None:
    await store.items.put_many(films(5))
    await start(RecordingSummarizer())
    await until(lambda: _are(store, {OLD: 5}))
    await until(lambda: _uses(store, OLD))
    server.serves, server.broken = [OLD, NEW], {NEW}
    registry.promote(double.NAME, 2)
    await store.items.put_many(films(5, 5))
    await until(lambda: _are(store, {OLD: 10}))
    server.broken = set()
    await until(lambda: _uses(store, NEW))
    assert await sizes(store) == {OLD: 10, NEW: 10}
    assert await store.dead_letters.count() == 0


async def test_an_item_that_one_version_rejects_is_embedded_by_another_whose_server_was_down(
    store: Store, start: Start, server: EmbedServer, registry: Registry
) -> None:
    await store.items.put_many(films(5))
    worker = await start(RecordingSummarizer())
    await until(lambda: _are(store, {OLD: 5}))
    await until(lambda: _uses(store, OLD))
    server.serves, server.rejects = [OLD, NEW], {NEW}
    registry.promote(double.NAME, 2)

    async def given_up(items: int) -> bool:
        return await store.dead_letters.count() == items

    await until(lambda: given_up(5))
    server.broken = {OLD}
    await store.items.put(Item("bad", "film 99"))
    await until(lambda: given_up(6))
    server.broken = set()
    await until(lambda: _are(store, {OLD: 6}))
    (letter,) = [letter for letter in await dead_letters(store) if letter.key == "bad"]
    server.rejects = set()
    await store.dead_letters.retry(letter.id)
    await until(lambda: _are(store, {OLD: 6, NEW: 1}))
    assert worker.count("embed", "dead_lettered") == 6


async def test_a_version_that_fails_at_many_items_is_not_used(
    store: Store, start: Start, server: EmbedServer, registry: Registry, settings: Settings
) -> None:
    await store.items.put_many(films(10))
    await start(RecordingSummarizer())
    await until(lambda: _are(store, {OLD: 10}))
    await until(lambda: _uses(store, OLD))
    server.status["film"], server.serves = 400, [OLD, NEW]
    registry.promote(double.NAME, 2)

    async def all_failed() -> bool:
        counts = (await store.embeddings.counts()).get("next", IndexCounts())
        return counts.failed == 10

    await until(all_failed)
    servers = EmbedderServers(settings, metrics := Metrics())
    await tend(store, servers, metrics)
    await servers.close()
    assert await in_use(store) == OLD


async def test_an_index_that_another_worker_begins_to_use_during_a_scan_is_not_dropped(
    store: Store, start: Start, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.items.put_many(films(5))
    worker = await start(RecordingSummarizer())
    await until(lambda: _are(store, {OLD: 5}))
    await until(lambda: _uses(store, OLD))
    await worker.drain()
    third, scan = version(3), store.embeddings.scan

    async def slow(*given: Any, **options: Any) -> AsyncIterator[Scanned]:
        async for page in scan(*given, **options):
            yield page
        for index in (NEW, third):
            pointer = await store.embeddings.pointer()
            assert await store.embeddings.use(index, pointer)
        await store.items.put(Item("i9", "film 9"))
        await embed(store, lambda item: {third: double.vector(3, item.title)})

    monkeypatch.setattr(store.embeddings, "scan", slow)
    servers = EmbedderServers(settings, Metrics())
    await tend(store, servers, Metrics())
    await servers.close()
    assert await in_use(store) == third
    assert await sizes(store) == {OLD: 5, third: 1}


async def test_the_last_two_indexes_stay_and_a_rollback_needs_no_new_vectors(
    store: Store, start: Start, server: EmbedServer, registry: Registry
) -> None:
    server.serves = [OLD, NEW, version(3)]
    await store.items.put_many(films(10))
    await start(RecordingSummarizer())
    await until(lambda: _uses(store, OLD))
    await until(lambda: _are(store, {OLD: 10}))
    for number in (2, 3):
        registry.promote(double.NAME, number)
        await until(lambda number=number: _uses(store, version(number)))
    await until(lambda: _are(store, {NEW: 10, version(3): 10}))
    asked = len(server.asked)
    registry.promote(double.NAME, 2)
    await until(lambda: _uses(store, NEW))
    assert len(server.asked) == asked


async def test_a_new_version_takes_over_while_searches_run_and_no_search_mixes_versions(
    store: Store, start: Start, server: EmbedServer, registry: Registry
) -> None:
    """With the vector of an item of the index that it took, every search finds that item first, with the score 1."""
    server.serves = [OLD, NEW]
    await store.items.put_many(films(100))
    await start(RecordingSummarizer())
    await until(lambda: _are(store, {OLD: 100}))
    await until(lambda: _uses(store, OLD))
    seen: list[tuple[str, float, int]] = []
    stop = asyncio.Event()

    async def search(follower: Follower, number: int) -> None:
        while not stop.is_set():
            index = follower.current()
            assert index is not None, "there is always an index"
            item = f"i{number % 100}"
            rows, has = await asyncio.to_thread(index.rows, [item])
            await asyncio.sleep(0.001)
            (found,) = await asyncio.to_thread(index.search, rows, 5)
            assert has.all()
            assert all(score > 0.99 for score in found.scores), "a vector of another version scores 0"
            seen.append((index.version, float(found.scores[0]), len(index)))
            number += 7

    async with following(store) as one, following(store) as other:
        searching = [asyncio.create_task(search(follower, n)) for n, follower in enumerate([one, other, one, other])]
        await until(lambda: _count(seen, 50))
        registry.promote(double.NAME, 2)
        for number in range(100, 140):
            await store.items.put(Item(f"i{number}", f"film {number}"))
        await until(lambda: _uses(store, NEW))
        await until(lambda: _both_use(one, other, NEW))
        enough = len(seen) + 50
        await until(lambda: _count(seen, enough))
        stop.set()
        await asyncio.gather(*searching)
    assert {name for name, _, _ in seen} == {OLD, NEW}
    assert all(abs(score - 1) < 0.01 for _, score, _ in seen)
    assert all(size >= 100 for _, _, size in seen), "the new index was complete when it was first searched"


async def _count(seen: list[Any], least: int) -> bool:
    return len(seen) >= least


async def _both_use(one: Follower, other: Follower, index: str) -> bool:
    return all((now := follower.current()) is not None and now.version == index for follower in (one, other))
