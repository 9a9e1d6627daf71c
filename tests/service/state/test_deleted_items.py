"""Nothing that was counted about a deleted item comes back with it."""

import pytest

from service.state.keys import neighbours
from service.state.records import Item
from service.state.store import Store
from tests.redis_servers import admin_of, all_keys
from tests.stores import popularity

RARE = "0-rare"
"""Of members with one count, the first in lexical order is the first to go."""


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
    assert RARE not in await store.cooccurrence.neighbours("star", 10)
    await store.cooccurrence.record([RARE], [])
    assert await store.cooccurrence.neighbours(RARE, 10) == ["star"]


async def test_counts_in_lists_that_the_item_does_not_know_of_are_void_at_once(store: Store) -> None:
    await one_sided(store)
    await store.items.delete("star")
    await put(store, "star")
    await store.cooccurrence.record(["star"], [])
    assert await store.cooccurrence.neighbours(RARE, 10) == []
    assert await store.cooccurrence.collaborative(["star"], [RARE]) == {RARE: 0}


async def test_a_sweep_removes_them_and_the_item_counts_anew(store: Store, redis_url: str) -> None:
    await one_sided(store)
    await store.items.delete("star")
    await put(store, "star")
    assert await store.deleted_items.sweep() == 1
    assert await store.deleted_items.sweep() == 0
    await store.cooccurrence.record(["star"], [])
    assert await store.cooccurrence.neighbours(RARE, 10) == []
    await store.cooccurrence.record(["star"], [RARE])
    assert await store.cooccurrence.neighbours(RARE, 10) == ["star"]
    with admin_of(redis_url) as admin:
        assert admin.exists("ts:deleted_items") == 0


async def test_a_like_that_was_folded_during_the_deletion_does_not_stay(store: Store) -> None:
    await put(store, "a", "b")
    await store.items.delete("a")
    await store.cooccurrence.record(["a"], ["b"])
    assert await store.cooccurrence.neighbours("b", 5) == []
    await store.deleted_items.sweep()
    await put(store, "a")
    assert await popularity(store, ["a"]) == {"a": 0}
    assert await store.cooccurrence.collaborative(["b"], ["a"]) == {"a": 0}


async def test_of_an_item_that_is_gone_no_list_stays(store: Store, redis_url: str) -> None:
    await put(store, "a", "b")
    await store.items.delete("a")
    await store.cooccurrence.record(["a"], ["b"])
    await store.deleted_items.sweep()
    with admin_of(redis_url) as admin:
        assert admin.exists(neighbours("a")) == 0


async def test_an_item_that_nobody_put_leaves_no_note(store: Store, redis_url: str) -> None:
    assert not await store.items.delete("nobody")
    with admin_of(redis_url) as admin:
        assert all_keys(admin) == []
