"""The score cache: one stamp at a time, bounded, short-lived."""

import pytest

from service.state.store import Store
from tests.redis_servers import admin_of, all_keys


async def test_scores_of_one_stamp_add_up_and_those_of_another_replace_them(store: Store) -> None:
    assert await store.scores.read("u", "one") == {}
    await store.scores.write("u", "one", {"a": (1, 0.25), "b b": (7, 1e-7)}, 1)
    await store.scores.write("u", "one", {"c": (1, 0.5), "a": (2, 0.75)}, 1)
    assert await store.scores.read("u", "one") == {"a": (2, 0.75), "b b": (7, 1e-7), "c": (1, 0.5)}
    assert await store.scores.read("u", "two") == {}
    await store.scores.write("u", "two", {"d": (1, 0.125)}, 1)
    assert await store.scores.read("u", "one") == {}
    assert await store.scores.read("u", "two") == {"d": (1, 0.125)}
    assert await store.scores.write("u", "two", {}, 1)


class TestTime:
    @pytest.fixture
    def state(self) -> dict[str, float]:
        return {"score_cache_ttl_s": 5}

    async def test_a_score_is_not_kept_longer_by_later_ones(self, store: Store, redis_url: str) -> None:
        await store.scores.write("u", "s", {"a": (1, 0.5)}, 1)
        with admin_of(redis_url) as admin:
            (key,) = all_keys(admin)
            admin.pexpire(key, 1000)
            await store.scores.write("u", "s", {"b": (1, 0.5)}, 1)
            assert 0 < admin.pttl(key) <= 1000


class TestBounds:
    @pytest.fixture
    def state(self) -> dict[str, int]:
        return {"score_cache_items": 10, "score_cache_ttl_s": 5}

    async def test_scores_are_few_and_expire(self, store: Store, redis_url: str) -> None:
        for start in range(0, 40, 4):
            await store.scores.write("u", "s", {f"i{number}": (1, 0.5) for number in range(start, start + 4)}, 1)
            assert len(await store.scores.read("u", "s")) <= 10
        await store.scores.write("u", "s", {f"i{number}": (1, 0.5) for number in range(40)}, 1)
        assert len(await store.scores.read("u", "s")) == 10
        with admin_of(redis_url) as admin:
            assert {0 < admin.pttl(key) <= 5000 for key in all_keys(admin)} == {True}
