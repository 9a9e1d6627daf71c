"""I5: after a deletion nothing is left, and nothing in flight restores anything."""

import asyncio
import time

import pytest

from service.settings import Settings
from service.settings.state import StateSettings
from service.state.store import Store
from tests.redis_servers import admin_of, all_keys
from tests.service.state.conftest import Clock, event
from tests.stores import dead_letters


def keys_of(redis_url: str, user: str) -> list[str]:
    with admin_of(redis_url, decode_responses=True) as admin:
        return [key for key in all_keys(admin) if key.endswith(f":{user}")]


async def live_through_everything(store: Store, clock: Clock, user: str) -> None:
    """Create every kind of key that a user can have."""
    await store.events.accept([event(user, number) for number in range(60)], clock())
    (claim,) = await store.summaries.claim(1)
    await store.summaries.commit(claim, "likes things", "m", "p", len(claim.pending))
    (claim,) = await store.summaries.claim(1)
    await store.summaries.dead_letter(claim, "bad", 3)
    (claim,) = await store.summaries.claim(1)
    await store.summaries.fail(claim, 5)
    read = await store.users.read(user)
    clock.pass_s(0.001)
    await store.scores.write(user, "key", {"a": (1, 0.5)}, read.read_at_ms)


async def test_a_deleted_user_leaves_only_a_tombstone_and_no_dead_letter(
    store: Store, clock: Clock, redis_url: str
) -> None:
    await live_through_everything(store, clock, "u")
    assert {key.split(":")[2] for key in keys_of(redis_url, "u")} == {
        "u",
        "p",
        "summarize_lease",
        "r",
        "i",
        "d",
        "s",
        "y",
    }
    assert await store.users.delete("u")
    (tombstone,) = keys_of(redis_url, "u")
    assert tombstone.split(":")[2] == "x"
    assert await dead_letters(store) == []
    clock.pass_s(1000)
    assert (await store.summaries.due())[0] == 0
    assert not await store.users.delete("u")


async def test_only_that_user_is_deleted(store: Store, clock: Clock) -> None:
    await live_through_everything(store, clock, "other")
    await live_through_everything(store, clock, "u")
    before = await store.users.read("other")
    await store.users.delete("u")
    after = await store.users.read("other")
    assert (after.summary, after.recents, after.pending, after.seen) == (
        before.summary,
        before.recents,
        before.pending,
        before.seen,
    )
    assert [letter.key for letter in await dead_letters(store)] == ["other"]


async def test_an_event_received_before_the_deletion_is_refused_however_late_it_comes(
    store: Store, clock: Clock
) -> None:
    received = clock()
    clock.pass_s(1)
    await store.users.delete("u")
    clock.pass_s(100)
    assert await store.events.accept([event("u", 1)], received) == ["deleted"]
    assert await store.events.accept([event("u", 1)], clock()) == ["accepted"]


async def test_a_commit_in_flight_restores_nothing(store: Store, clock: Clock, redis_url: str) -> None:
    await store.events.accept([event("u", number) for number in range(3)], clock())
    (claim,) = await store.summaries.claim(1)
    await store.users.delete("u")
    assert not await store.summaries.commit(claim, "text", "m", "p", 3)
    assert await store.summaries.dead_letter(claim, "bad", 3) == "lost"
    assert not await store.summaries.fail(claim, 1)
    assert await store.summaries.extend([claim]) == [False]
    assert len(keys_of(redis_url, "u")) == 1


async def test_a_commit_in_flight_does_not_touch_events_after_the_deletion(store: Store, clock: Clock) -> None:
    batch = [event("u", number) for number in range(3)]
    await store.events.accept(batch, clock())
    (old,) = await store.summaries.claim(1)
    await store.users.delete("u")
    clock.pass_s(0.001)
    assert await store.events.accept(batch, clock()) == ["accepted"] * 3
    assert not await store.summaries.commit(old, "old", "m", "p", 3)
    (claim,) = await store.summaries.claim(1)
    assert claim.token > old.token
    assert not await store.summaries.commit(old, "old", "m", "p", 3)
    assert await store.summaries.commit(claim, "new", "m", "p", 3)
    summary = (await store.users.read("u")).summary
    assert summary is not None
    assert (summary.text, summary.version) == ("new", 1)


async def test_scores_in_flight_restore_nothing(store: Store, clock: Clock, redis_url: str) -> None:
    before = await store.users.read("u")
    await store.users.delete("u")
    assert not await store.scores.write("u", "key", {"a": (1, 0.5)}, before.read_at_ms)
    assert len(keys_of(redis_url, "u")) == 1
    clock.pass_s(0.001)
    await store.events.accept([event("u", 1)], clock())
    assert not await store.scores.write("u", "key", {"a": (1, 0.5)}, before.read_at_ms), "they are of the deleted user"
    after = await store.users.read("u")
    assert await store.scores.write("u", "key", {"a": (1, 0.5)}, after.read_at_ms)


async def test_a_dead_letter_retried_during_a_deletion_restores_nothing(
    store: Store, clock: Clock, redis_url: str
) -> None:
    await live_through_everything(store, clock, "u")
    (letter,) = await dead_letters(store)
    retried, _ = await asyncio.gather(store.dead_letters.retry(letter.id), store.users.delete("u"))
    assert retried in {"retried", "not_found"}
    assert len(keys_of(redis_url, "u")) == 1


@pytest.mark.parametrize("skew_ms", [-20, 0, 20])
async def test_clocks_that_differ_by_the_skew_decide_correctly_about_a_deletion(redis_url: str, skew_ms: int) -> None:
    """With Redis's clock, and a gateway whose clock is fast or slow."""
    settings = Settings(redis_url=redis_url, state=StateSettings(clock_skew_s=0.02))
    store = Store(settings)
    before = time.time_ns() // 1_000_000 + skew_ms
    await store.users.delete("u")
    after = time.time_ns() // 1_000_000 + skew_ms
    assert await store.events.accept([event("u", 1)], before) == ["deleted"]
    assert await store.events.accept([event("u", 1)], after) == ["accepted"]
    await store.close()


async def test_deletions_accepts_and_claims_at_once_leave_only_what_was_received_later(
    settings: Settings, redis_url: str
) -> None:
    store = Store(settings)
    for round_ in range(30):
        user = f"u{round_}"
        received = time.time_ns() // 1_000_000
        batch = [event(user, number) for number in range(3)]
        await store.events.accept(batch, received)

        async def fold() -> None:
            for claim in await store.summaries.claim(5):
                await store.summaries.commit(claim, "text", "m", "p", len(claim.pending))

        await asyncio.gather(fold(), store.users.delete(user), store.events.accept(batch, received), fold())
        assert [key.split(":")[2] for key in keys_of(redis_url, user)] == ["x"]
        again = [event(user, "new")]
        assert await store.events.accept(again, time.time_ns() // 1_000_000) == ["accepted"]
        assert (await store.users.read(user)).pending == 1
    await store.close()


async def test_an_unknown_user_reads_as_empty(store: Store, redis_url: str) -> None:
    read = await store.users.read("unknown")
    assert (read.summary, read.recents, read.pending, read.seen) == (None, (), 0, frozenset())
    assert keys_of(redis_url, "unknown") == []
