"""Items that were liked before they are in the catalogue get their counts when they are put."""

import pytest

from service.state import early
from service.state.records import Item
from service.state.store import Store
from tests.redis_servers import admin_of, all_keys
from tests.stores import collaborative, neighbours_of, popularity


async def put(store: Store, *names: str) -> None:
    await store.items.put_many([Item(name, name) for name in names])


async def like(store: Store, *items: str, before: tuple[str, ...] = ()) -> None:
    """As a worker records it."""
    to_come, _ = await store.items.absent([*items, *before])
    await store.cooccurrence.record(items, before, to_come)


async def test_an_item_that_comes_later_has_the_counts_it_would_have_had(store: Store) -> None:
    await put(store, "a", "b")
    await like(store, "a", "late", "later")
    await like(store, "b")
    await like(store, "late", before=("b",))
    await like(store, "late")
    await like(store, "b", before=("late",))
    assert await popularity(store, ["a", "b", "late"]) == {"a": 1, "b": 2, "late": 0}
    assert await neighbours_of(store, "a", 9) == []
    assert (await store.items.put(Item("late", "late")))[1]
    assert await popularity(store, ["late", "later"]) == {"late": 3, "later": 0}
    assert await neighbours_of(store, "late", 9) == ["b", "a"]
    expected = {"a": 1 / 3**0.5, "b": 2 / 6**0.5}
    assert await collaborative(store, ["late"], ["a", "b"]) == pytest.approx(expected)
    await put(store, "later")
    assert await popularity(store, ["late", "later"]) == {"late": 3, "later": 1}
    assert await collaborative(store, ["later"], ["late", "a"]) == pytest.approx({"late": 1 / 3**0.5, "a": 1})
    assert set(await neighbours_of(store, "late", 9)) == {"a", "b", "later"}


async def test_absent_items_displace_no_item_of_the_catalogue(store: Store, redis_url: str) -> None:
    await put(store, "a", "b")
    await like(store, "a", "b")
    for number in range(5):
        await like(store, f"absent-{number}", before=("a", "b"))
    assert await neighbours_of(store, "a", 9) == ["b"]
    with admin_of(redis_url) as admin:
        assert sorted(admin.zrange("ts:popular", 0, -1)) == [b"a", b"b"]
        assert sorted(admin.zcard(key) for key in all_keys(admin, "ts:{c:*")) == [1, 1, 3, 3, 3, 3, 3]


async def test_a_deleted_item_has_no_early_counts(store: Store) -> None:
    await put(store, "a", "b")
    await like(store, "a", "b")
    await store.items.delete("a")
    assert await store.items.absent(["a", "b", "new"]) == ({"new"}, {"a"})
    await put(store, "a")
    assert await popularity(store, ["a"]) == {"a": 0}
    assert await neighbours_of(store, "b", 9) == []


async def test_the_early_counts_of_a_deleted_user_are_withdrawn(store: Store) -> None:
    await put(store, "a")
    for _ in range(2):
        await like(store, "a", "late")
    await store.cooccurrence.withdraw(["a", "late"])
    await put(store, "late")
    assert await popularity(store, ["a", "late"]) == {"a": 1, "late": 1}
    assert await collaborative(store, ["a"], ["late"]) == {"late": 1}


async def test_made_up_items_are_bounded_by_number_and_by_time(
    store: Store, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early, "MOST", 10)
    await put(store, "a")
    for number in range(40):
        await like(store, f"absent-{number:02}", before=("a",))
    with admin_of(redis_url) as admin:
        assert admin.zcard("ts:early") == 10
        lists = all_keys(admin, "ts:{c:*")
        assert len(lists) == 10
        assert all(0 < admin.ttl(key) <= early.KEPT_S for key in lists)
    await put(store, "absent-39", "absent-00")
    assert await popularity(store, ["absent-39", "absent-00"]) == {"absent-39": 1, "absent-00": 0}
    with admin_of(redis_url) as admin:
        assert sorted(admin.ttl(key) for key in all_keys(admin, "ts:{c:*"))[:2] == [-1, -1], "kept from now on"
