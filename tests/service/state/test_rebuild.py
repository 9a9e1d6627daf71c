"""Rebuilding: every logged event is folded again, once and in order, whatever else happens (I2, I3, I4)."""

from typing import Any

import pytest

from service.state import encoding, event_log
from service.state.event_log import FIRST
from service.state.rebuild import Rebuilt
from service.state.records import Event
from service.state.store import Store
from tests.redis_servers import admin_of, all_keys
from tests.service.state.conftest import START_MS, Clock, event
from tests.stores import dead_letters


@pytest.fixture
def state() -> dict[str, Any]:
    return {"buckets": 2, "max_pending": 10, "block_size": 1, "catch_up_block": 10}


async def rebuild(store: Store, user: str = "u", *, partial: bool = False) -> Rebuilt:
    ids, last = [], FIRST
    async for one in store.log.read(store.log.bucket(user)):
        last = one.id
        if one.event.user_id == user:
            ids.append(one.id)
    (result,) = await store.rebuilds.rebuild({user: ids}, last, partial=partial)
    return result


async def fold(store: Store, count: int | None = None) -> None:
    """Fold the first `count` pending events of the one due user; the summary lists them."""
    (claim,) = await store.summaries.claim(10)
    folded = claim.pending[:count]
    words = [claim.base.text] if claim.base else []
    text = " ".join([*words, *(e.event_id for e in folded)])
    assert await store.summaries.commit(claim, text, "m@2", "p", len(folded))


async def pending(store: Store, clock: Clock) -> list[Event]:
    """The events of the next claim, which is given back."""
    (claim,) = await store.summaries.claim(1)
    assert await store.summaries.release(claim)
    return list(claim.pending)


async def text(store: Store) -> str:
    summary = (await store.users.read("u")).summary
    return summary.text if summary else ""


def names(events: list[Event]) -> list[str]:
    return [e.event_id for e in events]


async def test_folded_and_pending_events_are_folded_again_in_order_and_marked_if_folded_before(
    store: Store, clock: Clock
) -> None:
    await store.events.accept([event("u", number) for number in range(4)], START_MS)
    await fold(store, 3)
    assert await rebuild(store) == Rebuilt("rebuilt", 4)
    assert [(e.event_id, e.refolded) for e in await pending(store, clock)] == [
        *((f"u-{number}", True) for number in range(3)),
        ("u-3", False),
    ]
    (claim,) = await store.summaries.claim(1)
    assert claim.accepted_ms == (None, None, None, START_MS)
    assert await store.summaries.release(claim)
    assert await store.users.backlog() == 4
    await fold(store)
    assert await text(store) == "u-0 u-1 u-2 u-3"


async def test_readers_see_the_old_text_until_the_first_fold_and_the_version_goes_on(store: Store) -> None:
    await store.events.accept([event("u", 1), event("u", 2)], START_MS)
    await fold(store)
    before = (await store.users.read("u")).summary
    assert await rebuild(store) == Rebuilt("rebuilt", 2)
    shown = (await store.users.read("u")).summary
    assert shown is not None
    assert before is not None
    assert (shown.text, shown.version, shown.events, shown.voided) == ("u-1 u-2", before.version, 2, True)
    await fold(store, 1)
    after = (await store.users.read("u")).summary
    assert after is not None
    assert (after.text, after.version, after.events, after.voided) == ("u-1", before.version + 1, 1, False)
    assert [version.event_ids for version in after.history] == [("u-1",)]


async def test_rebuilding_again_folds_nothing_twice(store: Store, clock: Clock) -> None:
    await store.events.accept([event("u", number) for number in range(5)], START_MS)
    await fold(store, 2)
    for _ in range(3):
        assert await rebuild(store) == Rebuilt("rebuilt", 5)
    assert [e.refolded for e in await pending(store, clock)] == [True, True, False, False, False]
    await fold(store, 4)
    assert await rebuild(store) == Rebuilt("rebuilt", 5)
    assert [e.refolded for e in await pending(store, clock)] == [True, True, True, True, False]
    await fold(store)
    assert await text(store) == "u-0 u-1 u-2 u-3 u-4"
    assert await store.users.backlog() == 0


async def test_a_claim_in_flight_loses(store: Store) -> None:
    await store.events.accept([event("u", 1), event("u", 2)], START_MS)
    await fold(store, 1)
    (claim,) = await store.summaries.claim(1)
    assert await rebuild(store) == Rebuilt("rebuilt", 2)
    assert not await store.summaries.commit(claim, "stale", "m", "p", 1)
    assert await store.summaries.dead_letter(claim, "bad", 1) == "lost"
    assert await store.summaries.extend([claim]) == [False]
    await fold(store)
    assert await text(store) == "u-1 u-2"


async def test_a_user_that_waits_after_a_failure_is_due_at_once(store: Store) -> None:
    await store.events.accept([event("u", 1)], START_MS)
    (claim,) = await store.summaries.claim(1)
    await store.summaries.fail(claim, 60)
    assert await rebuild(store) == Rebuilt("rebuilt", 1)
    (claim,) = await store.summaries.claim(1)
    assert claim.attempts == 0


async def test_events_logged_after_the_caller_read_the_log_are_not_lost(store: Store) -> None:
    await store.events.accept([event("u", 1)], START_MS)
    await fold(store)
    entries = [one async for one in store.log.read(store.log.bucket("u"))]
    await store.events.accept([event("u", 2)], START_MS)
    await fold(store)
    await store.events.accept([event("u", 3), event("v", 3)], START_MS)
    (result,) = await store.rebuilds.rebuild({"u": [entries[0].id]}, entries[0].id)
    assert result == Rebuilt("rebuilt", 3)


async def test_a_caller_that_missed_much_of_the_log_has_to_read_on(store: Store) -> None:
    await store.events.accept([event("u", 1)], START_MS)
    neighbours = [name for name in map(str, range(3000)) if store.log.bucket(name) == store.log.bucket("u")]
    await store.events.accept([event(name, 1) for name in neighbours[:1000]], START_MS)
    (result,) = await store.rebuilds.rebuild({"u": []}, FIRST)
    assert result == Rebuilt("behind")
    assert await rebuild(store) == Rebuilt("rebuilt", 1)


async def test_dead_letters_are_queued_again_in_their_place(store: Store, clock: Clock) -> None:
    await store.events.accept([event("u", number) for number in range(4)], START_MS)
    (claim,) = await store.summaries.claim(1)
    assert await store.summaries.dead_letter(claim, "bad", 2) == "dead_lettered"
    await fold(store, 1)
    assert await rebuild(store) == Rebuilt("rebuilt", 4, 1)
    assert [(e.event_id, e.refolded) for e in await pending(store, clock)] == [
        ("u-0", False),
        ("u-1", False),
        ("u-2", True),
        ("u-3", False),
    ]
    assert await store.dead_letters.count() == 0
    assert await rebuild(store) == Rebuilt("rebuilt", 4)


async def test_a_retried_or_dropped_dead_letter_is_ignored(store: Store, clock: Clock) -> None:
    await store.events.accept([event("u", number) for number in range(3)], START_MS)
    for _ in range(2):
        (claim,) = await store.summaries.claim(1)
        assert await store.summaries.dead_letter(claim, "bad", 1) == "dead_lettered"
    first, second = await dead_letters(store)
    await store.dead_letters.retry(first.id)
    await store.dead_letters.drop(second.id)
    assert await rebuild(store) == Rebuilt("rebuilt", 3)
    assert names(await pending(store, clock)) == ["u-0", "u-1", "u-2"]


async def test_the_neighbours_in_the_log_stay_as_they_are(store: Store) -> None:
    other = next(name for name in map(str, range(99)) if store.log.bucket(name) == store.log.bucket("u"))
    await store.events.accept([event(name, n) for n in range(3) for name in ("u", other)], START_MS)
    before = await store.users.read(other)
    assert await rebuild(store) == Rebuilt("rebuilt", 3)
    assert (await store.users.read(other)) == before


async def test_a_deleted_user_is_not_restored(store: Store, clock: Clock) -> None:
    await store.events.accept([event("u", 1)], START_MS)
    await fold(store)
    ids = [one.id async for one in store.log.read(store.log.bucket("u"))]
    await store.users.delete("u")
    (result,) = await store.rebuilds.rebuild({"u": ids}, ids[-1])
    assert result == Rebuilt("nothing")
    clock.pass_s(1)
    await store.events.accept([event("u", 2)], clock())
    (result,) = await store.rebuilds.rebuild({"u": ids}, ids[-1])
    assert result == Rebuilt("rebuilt", 1)
    assert await text(store) == ""


async def test_a_user_whose_first_events_have_left_the_log_is_rebuilt_only_when_that_is_wanted(
    store: Store, clock: Clock, redis_url: str
) -> None:
    await store.events.accept([event("u", number) for number in range(6)], START_MS)
    await fold(store, 4)
    forget(redis_url, store, 2)
    assert await rebuild(store) == Rebuilt("incomplete")
    assert (await store.users.read("u")).pending == 2
    assert await rebuild(store, partial=True) == Rebuilt("rebuilt", 4)
    assert [(e.event_id, e.refolded) for e in await pending(store, clock)] == [
        *((f"u-{number}", True) for number in (2, 3)),
        *((f"u-{number}", False) for number in (4, 5)),
    ]
    assert await rebuild(store) == Rebuilt("rebuilt", 4), "events that left the log are in no summary"


async def test_events_that_were_never_folded_are_kept_without_the_log(
    store: Store, clock: Clock, redis_url: str
) -> None:
    await store.events.accept([event("u", number) for number in range(6)], START_MS)
    (claim,) = await store.summaries.claim(1)
    assert await store.summaries.dead_letter(claim, "bad", 2) == "dead_lettered"
    forget(redis_url, store, 4)
    assert await rebuild(store) == Rebuilt("rebuilt", 6, 1)
    assert names(await pending(store, clock)) == [f"u-{number}" for number in range(6)]
    assert not any(e.refolded for e in await pending(store, clock))


async def test_of_too_many_events_only_folded_ones_are_left_out_and_only_when_that_is_wanted(
    store: Store, clock: Clock
) -> None:
    await store.events.accept([event("u", number) for number in range(8)], START_MS)
    await fold(store)
    await store.events.accept([event("u", number) for number in range(8, 16)], START_MS)
    assert await rebuild(store) == Rebuilt("too_many")
    assert await rebuild(store, partial=True) == Rebuilt("rebuilt", 10)
    assert names(await pending(store, clock)) == [f"u-{number}" for number in range(6, 16)]
    await fold(store, 2)
    await store.events.accept([event("u", 16), event("u", 17)], START_MS)
    (claim,) = await store.summaries.claim(1)
    assert await store.summaries.dead_letter(claim, "bad", 4) == "dead_lettered"
    await store.events.accept([event("u", number) for number in range(18, 22)], START_MS)
    assert await rebuild(store, partial=True) == Rebuilt("too_many"), "14 were never folded"


class TestSmallBacklog:
    @pytest.fixture
    def state(self) -> dict[str, Any]:
        return {"buckets": 1, "max_backlog": 10, "block_size": 1}

    async def test_no_bucket_is_filled_over_its_bound(self, store: Store, clock: Clock) -> None:
        await store.events.accept([event("u", number) for number in range(6)], START_MS)
        await fold(store)
        await store.events.accept([event("v", number) for number in range(5)], START_MS)
        assert await rebuild(store) == Rebuilt("busy")
        await fold(store)
        assert await rebuild(store) == Rebuilt("rebuilt", 6)


async def test_an_event_with_anything_in_it_is_found_again(store: Store, clock: Clock) -> None:
    deep: Any = []
    for _ in range(200):
        deep = [deep]
    odd = [
        event("u", 'a"\\[b', context={"r": "\t\n", "deep": deep}),
        event("u", "[", item="r[", value=1e300),
        event("u", "é\u2028", recommendation_id="1r["),
    ]
    await store.events.accept(odd, START_MS)
    await fold(store, 1)
    assert await rebuild(store) == Rebuilt("rebuilt", 3)
    found = await pending(store, clock)
    assert [e.refolded for e in found] == [True, False, False]
    assert [encoding.pending_part(e) for e in found] == [encoding.pending_part(e) for e in odd]


async def test_a_summary_keeps_its_time_to_live(store: Store, redis_url: str) -> None:
    await store.events.accept([event("u", 1)], START_MS)
    await fold(store)
    with admin_of(redis_url) as admin:
        (key,) = all_keys(admin, "ts:{b*:u:u")
        admin.pexpire(key, 500_000)
        await rebuild(store)
        assert 0 < admin.pttl(key) <= 500_000


def forget(redis_url: str, store: Store, count: int) -> None:
    """Remove the oldest `count` entries from the user's log."""
    with admin_of(redis_url) as admin:
        key = f"ts:{{b{store.log.bucket('u')}}}:log"
        for entry_id, _ in admin.xrange(key, count=count):
            admin.xdel(key, entry_id)


async def test_the_log_is_read_on_from_any_entry(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_log, "PAGE", 3)
    await store.events.accept([event("u", number) for number in range(10)], START_MS)
    entries = [one async for one in store.log.read(store.log.bucket("u"))]
    assert [one async for one in store.log.read(store.log.bucket("u"), entries[3].id)] == entries[4:]


async def test_events_that_a_deletion_is_still_removing_from_the_log_are_not_restored(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.events.accept([event("u", number) for number in range(3)], START_MS)
    forget_entries, rebuilt = store.log.forget, []

    async def during_rebuild(user_id: str, last: str) -> int:
        clock.pass_s(0.001)
        await store.events.accept([event("u", 9)], clock())
        rebuilt.append(await rebuild(store))
        return await forget_entries(user_id, last)

    monkeypatch.setattr(store.log, "forget", during_rebuild)
    assert await store.users.delete("u")
    assert rebuilt == [Rebuilt("rebuilt", 1)]
    assert names(await pending(store, clock)) == ["u-9"]
