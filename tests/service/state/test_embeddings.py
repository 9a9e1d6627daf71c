"""Vectors of items: written with the item's claim, read by change number, swapped in one step (invariants I4, I8)."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from service.settings import Settings
from service.settings.engines import EmbedderSettings
from service.state.embeddings import Embeddings, IndexCounts, Scanned
from service.state.queues import EmbeddingQueue, TooManyIndexes, WrongWidth
from service.state.records import Item
from service.state.store import Store
from tests.redis_servers import admin_of, all_keys
from tests.service.state.conftest import Clock
from tests.stores import dead_letters

OLD, NEW = "embedder@1", "embedder@2"
ITEM = Item("i", "title")
EMBEDDER = EmbedderSettings(url="http://127.0.0.1:1", version="embedder@1")


@pytest.fixture
async def store(settings: Settings, clock: Clock) -> AsyncIterator[Store]:
    store = Store(settings.model_copy(update={"embedder": EMBEDDER}), clock)
    yield store
    await store.close()


def queue_of(store: Store) -> EmbeddingQueue:
    assert store.embedding_queue is not None
    return store.embedding_queue


def vector(*numbers: float) -> bytes:
    return np.array(numbers, dtype=np.float16).tobytes()


ONE, OTHER = vector(1, 0), vector(0, 1)


async def embed(store: Store, vectors: dict[str, bytes]) -> int:
    """Write the same vectors for every item that waits."""
    claims = await queue_of(store).claim(1000)
    for claim in claims:
        assert await queue_of(store).commit(claim, vectors)
    return len(claims)


class Reader:
    """What a gateway knows of an index."""

    def __init__(self, embeddings: Embeddings, index: str) -> None:
        self._embeddings, self._index = embeddings, index
        self._after = (0,) * embeddings.buckets
        self.known: dict[str, bytes] = {}

    async def read(self, limit: int = 1000) -> int:
        """Read all changes in pages; returns their number."""
        number, more = 0, True
        while more:
            page = await self._embeddings.changes(self._index, self._after, limit)
            self._after, more = page.after, page.more
            number += len(page.changes)
            for item, new in page.changes:
                self.known.pop(item, None)
                if new is not None:
                    self.known[item] = new
        return number


async def scanned(store: Store, wanted: str, current: str | None = None, fill: Sequence[str] = (OLD, NEW)) -> Scanned:
    found = Scanned()
    async for page in store.embeddings.scan(wanted, current, fill=fill, page=7):
        found += page
    return found


async def test_a_new_item_waits_for_its_vector_and_every_reader_learns_of_it(store: Store) -> None:
    first, second = Reader(store.embeddings, OLD), Reader(store.embeddings, OLD)
    await store.items.put(ITEM)
    assert await first.read() == 0
    assert await embed(store, {OLD: ONE}) == 1
    for reader in (first, second):
        assert (await reader.read(), reader.known) == (1, {"i": ONE})
        assert await reader.read() == 0
    assert (await store.embeddings.size(OLD), await queue_of(store).count()) == (1, 0)
    assert await store.embeddings.indexes() == {OLD: 2}


async def test_other_words_make_the_vector_stale_until_it_is_replaced(store: Store) -> None:
    await store.items.put(ITEM)
    await embed(store, {OLD: ONE})
    reader = Reader(store.embeddings, OLD)
    await reader.read()
    await store.items.put(replace(ITEM, attributes={"price": 1}))
    assert await queue_of(store).count() == 0
    await store.items.put(replace(ITEM, title="other"))
    assert (await reader.read(), reader.known) == (0, {"i": ONE})
    assert (await scanned(store, OLD)).wanted == IndexCounts(pending=1, stale=1)
    await embed(store, {OLD: OTHER})
    assert (await reader.read(), reader.known) == (1, {"i": OTHER})
    assert (await scanned(store, OLD)).wanted == IndexCounts(embedded=1)


async def test_a_vector_of_earlier_words_is_not_written(store: Store) -> None:
    await store.items.put(ITEM)
    (claim,) = await queue_of(store).claim(1)
    await store.items.put(replace(ITEM, title="other"))
    assert not await queue_of(store).commit(claim, {OLD: ONE})
    assert not await queue_of(store).keep(claim, {OLD: ONE})
    assert await store.embeddings.size(OLD) == 0
    await embed(store, {OLD: OTHER})
    assert await store.embeddings.size(OLD) == 1


async def test_a_vector_makes_no_new_revision_because_scores_do_not_depend_on_it(store: Store) -> None:
    stored, _ = await store.items.put(ITEM)
    await embed(store, {OLD: ONE})
    await scanned(store, NEW)
    assert await embed(store, {NEW: ONE}) == 1
    found = await store.items.get("i")
    assert found is not None
    assert found.revision == stored.revision


async def test_a_deleted_item_leaves_all_indexes_and_every_reader_learns_of_it(store: Store) -> None:
    await store.items.put_many([ITEM, Item("j", "other")])
    await embed(store, {OLD: ONE, NEW: OTHER})
    readers = [Reader(store.embeddings, index) for index in (OLD, NEW)]
    for reader in readers:
        await reader.read()
    await store.items.delete("i")
    for reader, kept in zip(readers, (ONE, OTHER), strict=True):
        assert (await reader.read(), reader.known) == (1, {"j": kept})
    late = Reader(store.embeddings, OLD)
    await late.read()
    assert late.known == {"j": ONE}
    assert await store.embeddings.prune(OLD, 3600) == 0
    assert await store.embeddings.prune(OLD, -60) == 1
    assert await store.embeddings.prune(OLD, -60) == 0
    for again in (ONE, OTHER):
        await store.items.put(ITEM)
        await embed(store, {OLD: again})
        assert (await readers[0].read(), readers[0].known) == (1, {"i": again, "j": ONE})
        # A removal that is followed by another vector is not to be forgotten any more.
        assert await store.embeddings.prune(OLD, -60) == 0
        if again == ONE:
            await store.items.delete("i")
    assert await Reader(store.embeddings, OLD).read() == 2


async def test_a_part_of_the_vectors_is_kept_while_the_rest_is_tried_again(store: Store) -> None:
    await store.items.put(ITEM)
    (claim,) = await queue_of(store).claim(1)
    assert await queue_of(store).keep(claim, {OLD: ONE})
    assert await store.embeddings.size(OLD) == 1
    assert await queue_of(store).fail(claim, 0)
    (claim,) = await queue_of(store).claim(1)
    assert (claim.embedded, claim.attempts) == ((OLD,), 1)
    assert await queue_of(store).dead_letter(claim, "bad", [NEW]) == "dead_lettered"
    assert await scanned(store, NEW, OLD) == Scanned(IndexCounts(failed=1), IndexCounts(embedded=1))
    (letter,) = await dead_letters(store)
    assert await store.dead_letters.retry(letter.id) == "retried"
    (claim,) = await queue_of(store).claim(1)
    assert await queue_of(store).commit(claim, {NEW: OTHER})
    assert await scanned(store, NEW, OLD) == Scanned(IndexCounts(embedded=1), IndexCounts(embedded=1))


async def test_a_vector_of_another_width_is_refused_and_nothing_is_written(store: Store) -> None:
    await store.items.put_many([ITEM, Item("j", "title")])
    first, second = sorted(await queue_of(store).claim(2), key=lambda claim: claim.key)
    await queue_of(store).commit(first, {OLD: ONE})
    # Widths are known by bucket.
    await store.items.put(replace(ITEM, title="other"))
    (again,) = await queue_of(store).claim(1)
    with pytest.raises(WrongWidth):
        await queue_of(store).commit(again, {NEW: ONE, OLD: vector(1, 2, 3)})
    with pytest.raises(WrongWidth):
        await queue_of(store).keep(again, {OLD: vector(1)})
    assert await store.embeddings.size(NEW) == 0
    assert await queue_of(store).commit(again, {OLD: OTHER})
    assert await queue_of(store).commit(second, {OLD: OTHER})


async def test_there_are_never_many_indexes(store: Store) -> None:
    await store.items.put(ITEM)
    (claim,) = await queue_of(store).claim(1)
    for number in range(8):
        assert await queue_of(store).keep(claim, {f"e@{number}": ONE})
    with pytest.raises(TooManyIndexes):
        await queue_of(store).commit(claim, {"e@8": ONE})
    await store.embeddings.drop("e@0")
    assert await queue_of(store).commit(claim, {"e@8": ONE})
    assert len(await store.embeddings.indexes()) == 8


async def test_what_a_dropped_index_had_is_made_again_when_it_is_wanted_again(store: Store, redis_url: str) -> None:
    await store.items.put_many([Item(f"i{number}", "t") for number in range(40)])
    await embed(store, {OLD: ONE, NEW: ONE})
    await store.embeddings.drop(OLD)
    with admin_of(redis_url, decode_responses=True) as admin:
        assert [key for key in all_keys(admin) if key.endswith(OLD)] == []
    assert (await store.embeddings.indexes(), await store.embeddings.size(NEW)) == ({NEW: 2}, 40)
    assert (await scanned(store, NEW)).queued == 0
    found = await scanned(store, OLD)
    assert (found.queued, found.wanted) == (40, IndexCounts(pending=40))
    (claim, *_) = await queue_of(store).claim(40)
    assert claim.embedded == (NEW,)


async def test_a_scan_queues_what_lacks_a_vector_and_counts_the_rest(store: Store) -> None:
    await store.items.put_many([Item(f"i{number}", "t") for number in range(50)])
    await embed(store, {OLD: ONE})
    await store.items.put(Item("new", "t"))
    await store.items.put(Item("waits", "t", picture_url="http://example.com/a.png"))
    assert await scanned(store, NEW, OLD, fill=()) == Scanned(
        IndexCounts(pending=52), IndexCounts(embedded=50, pending=2), queued=0, lost=50
    )
    assert await scanned(store, NEW, OLD) == Scanned(
        IndexCounts(pending=52), IndexCounts(embedded=50, pending=2), queued=50, lost=50
    )
    assert await queue_of(store).count() == 51
    assert await embed(store, {NEW: OTHER, OLD: ONE}) == 51
    # Nothing is derived from an item whose picture is still to be fetched.
    assert await scanned(store, NEW, OLD) == Scanned(
        IndexCounts(embedded=51, pending=1), IndexCounts(embedded=51, pending=1)
    )


async def test_the_index_in_use_is_swapped_once(store: Store) -> None:
    embeddings = store.embeddings
    assert await embeddings.pointer() is None
    first = await embeddings.use(OLD, None)
    assert first is not None
    assert await embeddings.use(NEW, None) is None
    second = await embeddings.use(NEW, first)
    assert second is not None
    assert (second.store, second.current, second.previous) == (first.store, NEW, OLD)
    assert await embeddings.use("embedder@3", first) is None
    assert await embeddings.pointer() == second
    page = await embeddings.changes(NEW, (0,) * embeddings.buckets, 10)
    assert page.pointer == second


async def test_many_changes_are_read_in_pages_none_twice(store: Store) -> None:
    await store.items.put_many([Item(f"i{number}", "t") for number in range(200)])
    await embed(store, {OLD: ONE})
    reader = Reader(store.embeddings, OLD)
    assert await reader.read(limit=16) == 200
    assert len(reader.known) == 200
    await store.items.put_many([Item(f"i{number}", "changed") for number in range(3)])
    await embed(store, {OLD: OTHER})
    assert await reader.read(limit=1) == 3
    assert [reader.known[f"i{number}"] for number in range(4)] == [OTHER, OTHER, OTHER, ONE]


async def test_counts_are_noted_for_all_processes(store: Store) -> None:
    assert await store.embeddings.counts() == {}
    found = Scanned(IndexCounts(1, 2, 3, 4), IndexCounts(5, 6, 7, 8))
    await store.embeddings.note(found, same=False)
    assert await store.embeddings.counts() == {"next": IndexCounts(1, 2, 3, 4), "current": IndexCounts(5, 6, 7, 8)}
    await store.embeddings.note(found, same=True)
    assert await store.embeddings.counts() == {"current": IndexCounts(1, 2, 3, 4)}


BOUNDED = {"e", "ec", "et", "ei", "es", "embed_due", "embed_lease", "embedding_index", "embedding_counts"}


async def test_no_key_grows_with_time(store: Store, clock: Clock, redis_url: str) -> None:
    """I8: with items that come, change and go, and versions that follow each other."""
    for round_ in range(12):
        index = f"e@{round_}"
        await store.items.put_many([Item(f"{round_ % 2}-{number}", f"title {round_}") for number in range(30)])
        for claim in (await queue_of(store).claim(30))[:-1]:
            await queue_of(store).commit(claim, {index: ONE})
        found = await scanned(store, index, fill=[index])
        await store.embeddings.note(found, same=True)
        assert await store.embeddings.use(index, await store.embeddings.pointer())
        await store.items.delete(f"{round_ % 2}-0")
        clock.pass_s(120)
        for old in set(await store.embeddings.indexes()) - {index, f"e@{round_ - 1}"}:
            await store.embeddings.drop(old)
        for kept in await store.embeddings.indexes():
            await store.embeddings.prune(kept, -60)
    with admin_of(redis_url, decode_responses=True) as admin:
        sizes: dict[str, int] = {}
        for key in all_keys(admin):
            family = key.split(":")[2] if key.startswith("ts:{") else key.split(":")[1]
            size = {"hash": admin.hlen, "zset": admin.zcard, "string": admin.strlen}.get(str(admin.type(key)))
            if family in BOUNDED and size is not None:
                sizes[family] = sizes.get(family, 0) + int(size(key))
        assert set(sizes) >= {"e", "ec", "ei", "es"}
        assert sizes["e"] <= sizes["ec"] <= 2 * 60
        assert sizes["ei"] <= 2 * store.embeddings.buckets
        assert sizes["es"] == 16 * store.embeddings.buckets
        assert all(int(admin.hlen(key)) <= 9 for key in all_keys(admin, "ts:*:m:*"))
