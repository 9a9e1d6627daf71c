"""I2, I8: bounds so wide that Lua can't unpack a user's values at once; then nothing may be half written."""

from typing import Any

import pytest
from pydantic import ValidationError

from service.settings import Settings
from service.settings.state import StateSettings
from service.state.store import Store
from tests.redis_servers import admin_of, all_keys
from tests.service.state.conftest import START_MS, event
from tests.stores import cached_scores, dead_letters

MANY = 9000


@pytest.fixture
def state() -> dict[str, Any]:
    return {
        "buckets": 1,
        "max_pending": MANY,
        "recents": MANY,
        "seen_items": MANY,
        "dedupe_ids": MANY,
        "claim_blocks": MANY,
        "catch_up_block": 1,
        "score_cache_items": MANY,
    }


async def accept(store: Store, count: int, first: int = 0) -> None:
    batch = [event("u", number) for number in range(first, first + count)]
    assert set(await store.events.accept(batch, START_MS)) == {"accepted"}


async def test_a_claim_of_very_many_events_is_committed_whole(store: Store) -> None:
    await accept(store, MANY)
    (claim,) = await store.summaries.claim(1)
    assert await store.summaries.commit(claim, "text", "m", "p", MANY)
    read = await store.users.read("u")
    assert (read.pending, len(read.recents)) == (0, MANY)
    assert (read.summary and read.summary.events) == MANY


async def test_the_largest_block_fits_into_a_dead_letter(store: Store) -> None:
    with pytest.raises(ValidationError, match="catch_up_block"):
        StateSettings(catch_up_block=1001)
    await accept(store, 1000)
    (claim,) = await store.summaries.claim(1)
    assert await store.summaries.dead_letter(claim, "bad", 1000) == "dead_lettered"
    (letter,) = await dead_letters(store)
    assert letter.events == claim.pending
    assert await store.dead_letters.retry(letter.id) == "retried"
    assert (await store.users.read("u")).pending == 1000


async def test_very_many_items_that_leave_the_recents_and_the_seen_are_removed_whole(
    store: Store, settings: Settings, redis_url: str
) -> None:
    """As after the bounds were reduced."""
    await accept(store, 3)
    with admin_of(redis_url) as admin:
        (pending,) = all_keys(admin, "ts:*:p:u")
        stem = pending.decode().removesuffix("p:u")
        items = [f"old-{number}" for number in range(12_000)]
        for start in range(0, len(items), 1000):
            admin.rpush(f"{stem}i:u", *items[start : start + 1000])
            admin.rpush(f"{stem}r:u", *(f'["{item}","click",1]' for item in items[start : start + 1000]))
        admin.rpush(f"{stem}r:u", *(f'["late-{number}","click",1]' for number in range(6000)))
    (claim,) = await store.summaries.claim(1)
    assert await store.summaries.commit(claim, "text", "m", "p", 3)
    read = await store.users.read("u")
    assert (read.pending, read.recents[-1].item_id) == (0, "item-2")
    with admin_of(redis_url) as admin:
        assert (admin.llen(f"{stem}r:u"), admin.llen(f"{stem}i:u")) == (MANY, MANY)


async def test_very_many_scores_are_kept(store: Store) -> None:
    scores = {f"i{number}": (1, 0.5) for number in range(MANY)}
    await accept(store, 1)
    assert await store.scores.write("u", "key", scores, START_MS)
    assert await cached_scores(store, "u", "key", dict.fromkeys(scores, 1)) == dict.fromkeys(scores, 0.5)


TIMES = [name for name in StateSettings.model_fields if name.endswith("_s")]


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("value", ["inf", "nan", 1e12, 0.0001, -1])
def test_a_time_that_redis_cannot_count_is_refused(name: str, value: str | float) -> None:
    if (name, value) not in {("clock_skew_s", 0.0001), ("user_ttl_s", 0.0001)}:
        with pytest.raises(ValidationError, match=name):
            StateSettings(**{name: value})


class TestTimes:
    @pytest.fixture(params=[0.001, 1e9])
    def state(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        ours = {name: request.param for name in TIMES if name not in {"clock_skew_s", "redis_timeout_s"}}
        return {"buckets": 1, **ours}

    async def test_with_the_shortest_and_the_longest_times_nothing_is_half_written(self, store: Store) -> None:
        await accept(store, 6)
        (claim,) = await store.summaries.claim(1)
        assert await store.summaries.commit(claim, "text", "m", "p", 3)
        (claim,) = await store.summaries.claim(1)
        assert await store.summaries.fail(claim, 0)
        assert await store.scores.write("u", "key", {"a": (1, 0.5)}, START_MS)
        assert (await store.users.read("u")).pending == await store.users.backlog() == 3
        assert await store.users.delete("u")
        assert await store.users.backlog() == 0
