"""The counts of a deleted item do not return with it."""

import pytest

from service.state.keys import Keys
from service.state.records import Item
from service.state.store import Store
from tests.redis_servers import admin_of, all_keys
from tests.stores import collaborative, neighbours_of, popularity

RARE = "0-rare"
"""Of members with the same count, the first in lexical order is removed first."""


@pytest.fixture
def state() -> dict[str, int]:
    return {"neighbours": 4}


async def put(store: Store, *names: str) -> None:
    await store.items.put_many([Item(name, name) for name in names])


async def one_sided(store: Store) -> None:
    """The rare item lists `star`; the list of `star` has no room for it."""
    await put(store, "star", RARE, *(f"i{number}" for number in range(8)))
    await store.cooccurrence.record([RARE], ["star"])
    for number in range(40):
        await store.cooccurrence.record(["star"], [f"i{number % 8}"])
    assert RARE not in await neighbours_of(store, "star", 10)
    await store.cooccurrence.record([RARE], [])
    assert await neighbours_of(store, RARE, 10) == ["star"]


async def test_counts_in_lists_that_the_items_own_list_does_not_name_are_void_immediately(store: Store) -> None:
    await one_sided(store)
    await store.items.delete("star")
    await put(store, "star")
    await store.cooccurrence.record(["star"], [])
    assert await neighbours_of(store, RARE, 10) == []
    assert await collaborative(store, ["star"], [RARE]) == {RARE: 0}


async def test_a_sweep_removes_them_and_the_item_starts_from_zero(store: Store, redis_url: str) -> None:
    await one_sided(store)
    await store.items.delete("star")
    await put(store, "star")
    assert await store.deleted_items.sweep() == 1
    assert await store.deleted_items.sweep() == 0
    await store.cooccurrence.record(["star"], [])
    assert await neighbours_of(store, RARE, 10) == []
    await store.cooccurrence.record(["star"], [RARE])
    assert await neighbours_of(store, RARE, 10) == ["star"]
    with admin_of(redis_url) as admin:
        assert admin.exists("ts:deleted_items") == 0


async def test_a_like_that_was_folded_during_the_deletion_does_not_stay(store: Store) -> None:
    await put(store, "a", "b")
    await store.items.delete("a")
    await store.cooccurrence.record(["a"], ["b"])
    assert await neighbours_of(store, "b", 5) == []
    await store.deleted_items.sweep()
    await put(store, "a")
    assert await popularity(store, ["a"]) == {"a": 0}
    assert await collaborative(store, ["b"], ["a"]) == {"a": 0}


async def test_no_list_of_a_deleted_item_stays(store: Store, redis_url: str) -> None:
    await put(store, "a", "b")
    await store.items.delete("a")
    await store.cooccurrence.record(["a"], ["b"])
    await store.deleted_items.sweep()
    with admin_of(redis_url) as admin:
        assert admin.exists(Keys(4).neighbours("a")) == 0


async def test_deleting_an_unknown_item_leaves_no_note(store: Store, redis_url: str) -> None:
    assert not await store.items.delete("nobody")
    with admin_of(redis_url) as admin:
        assert all_keys(admin) == []
