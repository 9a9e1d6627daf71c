"""The score cache: one cache key at a time, only of known users, bounded in bytes, short-lived."""

import pytest

from service.state.store import Store
from tests.redis_servers import admin_of, all_keys
from tests.service.state.conftest import START_MS, event
from tests.stores import cached_scores

LONG = [f"{number:03}" + "x" * 253 for number in range(500)]


@pytest.fixture(autouse=True)
async def _there(store: Store) -> None:
    """The user has an event."""
    await store.events.accept([event("u", 1)], START_MS)


async def read(store: Store, cache_key: str, **revisions: int) -> dict[str, float]:
    return await cached_scores(store, "u", cache_key, revisions)


async def write(store: Store, cache_key: str, **scores: tuple[int, float]) -> bool:
    return await store.scores.write("u", cache_key, scores, START_MS)


async def test_scores_of_one_cache_key_accumulate_and_another_key_replaces_them(store: Store) -> None:
    assert await read(store, "one", a=1) == {}
    await write(store, "one", a=(1, 0.25), b=(7, 1e-7))
    await write(store, "one", c=(1, 0.5), a=(2, 0.75))
    assert await read(store, "one", a=2, b=7, c=1, d=1) == pytest.approx({"a": 0.75, "b": 1e-7, "c": 0.5})
    assert await read(store, "two", a=2) == {}
    await write(store, "two", d=(1, 0.125))
    assert await read(store, "one", a=2, b=7, c=1, d=1) == {}
    assert await read(store, "two", d=1, a=2) == {"d": 0.125}
    assert await write(store, "two")
    assert await read(store, "tw", d=1) == await read(store, "", d=1) == {}, "no cache_key is the start of another"


async def test_a_score_of_another_revision_is_not_found(store: Store) -> None:
    await write(store, "s", a=(1, 0.25), b=(-5, 0.5))
    assert await read(store, "s", a=2, b=5) == {}
    assert await read(store, "s", a=1, b=-5) == {"a": 0.25, "b": 0.5}


async def test_a_user_who_never_did_anything_takes_no_memory(store: Store, redis_url: str) -> None:
    with admin_of(redis_url) as admin:
        before = sorted(all_keys(admin))
        assert not await store.scores.write("made-up", "s", dict.fromkeys(LONG, (1, 0.5)), START_MS)
        assert sorted(all_keys(admin)) == before


async def test_five_hundred_scores_of_the_longest_ids_take_few_kilobytes(store: Store, redis_url: str) -> None:
    assert await store.scores.write("u", "s" * 24, dict.fromkeys(LONG, (1, 0.5)), START_MS)
    assert await cached_scores(store, "u", "s" * 24, dict.fromkeys(LONG, 1)) == dict.fromkeys(LONG, 0.5)
    with admin_of(redis_url) as admin:
        (key,) = all_keys(admin, "ts:*:s:u")
        assert admin.strlen(key) == 3 + 24 + 500 * 12


class TestTime:
    @pytest.fixture
    def state(self) -> dict[str, float]:
        return {"score_cache_ttl_s": 5}

    async def test_a_score_is_not_kept_longer_by_later_ones(self, store: Store, redis_url: str) -> None:
        await write(store, "s", a=(1, 0.5))
        with admin_of(redis_url) as admin:
            (key,) = all_keys(admin, "ts:*:s:u")
            admin.pexpire(key, 1000)
            await write(store, "s", b=(1, 0.5))
            assert 0 < admin.pttl(key) <= 1000


class TestBounds:
    @pytest.fixture
    def state(self) -> dict[str, int]:
        return {"score_cache_items": 10, "score_cache_ttl_s": 5}

    async def test_scores_are_few_and_expire(self, store: Store, redis_url: str) -> None:
        every = {f"i{number}": 1 for number in range(40)}
        for start in range(0, 40, 4):
            await store.scores.write("u", "s", {f"i{n}": (1, 0.5) for n in range(start, start + 4)}, START_MS)
            assert 4 <= len(await cached_scores(store, "u", "s", every)) <= 10
        await store.scores.write("u", "s", dict.fromkeys(every, (1, 0.5)), START_MS)
        assert len(await cached_scores(store, "u", "s", every)) == 10
        with admin_of(redis_url) as admin:
            (key,) = all_keys(admin, "ts:*:s:u")
            assert 0 < admin.pttl(key) <= 5000
