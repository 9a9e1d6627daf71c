"""Co-occurrence and popularity: exact while small, bounded when large."""

import math

import pytest

from service.settings import Settings
from service.settings.state import StateSettings
from service.state.cooccurrence import Counts, nearest
from service.state.records import Item
from service.state.store import Store
from tests.redis_servers import admin_of, all_keys
from tests.service.state.conftest import Clock
from tests.stores import collaborative, neighbours_of, popularity


async def put(store: Store, *names: str) -> None:
    await store.items.put_many([Item(name, name) for name in names])


async def test_counts_are_of_likes_and_of_pairs_liked_by_one_user(store: Store) -> None:
    await store.cooccurrence.record(["a", "b"], [])
    await store.cooccurrence.record(["c", "c"], ["a", "b", "a"])
    assert await popularity(store, ["a", "b", "c", "z"]) == {"a": 1, "b": 1, "c": 1, "z": 0}
    assert await collaborative(store, ["a"], ["b", "c", "z"]) == {"b": 1, "c": 1, "z": 0}


async def test_cosine_divides_by_both_popularities_and_sums_over_the_recents(store: Store) -> None:
    await put(store, *"abc")
    pairs = [("b", "a", 3), ("c", "a", 2), ("c", "b", 6), ("a", "b", 3), ("a", "c", 2), ("b", "c", 6)]
    await store.cooccurrence.seed("m@1", [("a", 4), ("b", 9), ("c", 16)], pairs)
    scores = await collaborative(store, ["a", "b", "a"], ["c", "b"])
    assert scores["c"] == pytest.approx(2 / math.sqrt(4 * 16) + 6 / math.sqrt(9 * 16))
    assert scores["b"] == pytest.approx(3 / math.sqrt(4 * 9))
    assert await neighbours_of(store, "a", 5) == ["b", "c"]
    assert await neighbours_of(store, "unknown", 5) == []
    assert await collaborative(store, [], ["a"]) == {"a": 0}
    assert await collaborative(store, ["a"], []) == {}


async def test_each_index_knows_to_the_second_when_it_last_counted_a_like(store: Store, clock: Clock) -> None:
    times = store.cooccurrence.times
    assert await times.read() == {}
    await store.cooccurrence.record(["a"], [])
    alone = clock() / 1000
    assert await times.read() == {"popular": alone}
    clock.pass_s(60)
    await store.cooccurrence.record(["b"], ["a"])
    assert await times.read() == {"popular": alone + 60, "cooccurrence": alone + 60}
    clock.pass_s(0.5)
    await store.cooccurrence.record(["c"], ["a"])
    assert await times.read() == {"popular": alone + 60, "cooccurrence": alone + 60}, "written at most once a second"
    clock.pass_s(0.5)
    await store.cooccurrence.record(["d"], ["a"])
    assert await times.read() == {"popular": alone + 61, "cooccurrence": alone + 61}


def test_the_nearest_items_have_the_highest_sums_of_cosines() -> None:
    together = {"a": {"b": 1, "c": 1, "d": 2, "gone": 9}, "b": {"a": 1, "c": 1}}
    counts = Counts({"a": 1, "b": 1, "c": 1, "d": 4, "gone": 9}, frozenset({"gone"}))
    assert nearest(together, counts, {"a", "b"}) == ["c", "d"]
    assert nearest(together, counts, {"a", "b", "c"}) == ["d"]


async def test_the_most_popular_items_come_first_page_by_page(store: Store) -> None:
    await store.cooccurrence.seed("m@1", [("a", 1), ("b", 3), ("c", 2)], [])
    wave = store.wave()
    first, second = (wave.add(store.cooccurrence.ranking(start, 2)) for start in (0, 2))
    await wave.send()
    assert (first.value(), second.value()) == (["b", "c"], ["a"])


async def test_a_new_item_can_enter_a_full_ranking(redis_url: str) -> None:
    store = Store(Settings(redis_url=redis_url, state=StateSettings(popular=20)))
    await store.cooccurrence.seed("m@1", [(f"old-{number}", 2) for number in range(20)], [])
    for _ in range(5):
        await store.cooccurrence.record(["new"], [])
    assert await popularity(store, ["new"]) == {"new": 5}
    await store.cooccurrence.record([f"once-{number}" for number in range(5)], [])
    with admin_of(redis_url) as admin:
        assert admin.zcard("ts:popular") == 20
    assert await popularity(store, ["new"]) == {"new": 5}
    await store.close()


async def test_a_training_set_is_counted_once(store: Store) -> None:
    assert await store.cooccurrence.seed("m@1", [("a", 2)], [("a", "b", 1)])
    assert not await store.cooccurrence.seed("m@1", [("a", 2)], [("a", "b", 1)])
    assert await popularity(store, ["a"]) == {"a": 2}


async def test_absent_items_are_not_found_and_displace_no_others(store: Store) -> None:
    await put(store, "far", "rare")
    absent = [f"absent-{number}" for number in range(300)]
    counts = [("a", 9), *((item, 9) for item in absent), ("far", 1), ("rare", 1)]
    await store.cooccurrence.seed("m@1", counts, [("a", item, 5) for item in absent[:60]] + [("a", "far", 1)])
    assert await neighbours_of(store, "a", 2) == ["far"]


async def test_an_item_is_no_neighbour_of_itself(store: Store) -> None:
    await put(store, "a")
    await store.cooccurrence.record(["a", "a"], ["a"])
    assert await neighbours_of(store, "a", 5) == []
    assert await popularity(store, ["a"]) == {"a": 0}, "counted before"


class TestBounds:
    @pytest.fixture
    def state(self) -> dict[str, int]:
        return {"neighbours": 8, "popular": 20}

    async def test_frequent_neighbours_outlive_the_rare_ones(self, store: Store, redis_url: str) -> None:
        await put(store, "often")
        for number in range(60):
            await store.cooccurrence.record(["a"], [f"rare-{number}", "often"])
        assert (await neighbours_of(store, "a", 1)) == ["often"]
        with admin_of(redis_url) as admin:
            assert max(admin.zcard(key) for key in all_keys(admin, "ts:{c:*")) <= 10
            assert admin.zcard("ts:popular") <= 20
