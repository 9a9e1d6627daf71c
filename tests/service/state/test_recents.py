"""Recents are the newest events by event time, folded or pending, in any order of arrival."""

import random
from collections.abc import Sequence

import pytest

from service.state.records import Event, Item
from service.state.store import Store
from service.state.views import user_view
from tests.service.state.conftest import START_MS, Clock, event

RECENTS, SEEN = 20, 200
YEAR_MS = 365 * 24 * 3600 * 1000


def happened(number: int, at_ms: int, item: str | None = None) -> Event:
    return event("u", number, item=item, timestamp_ms=at_ms)


async def fold(store: Store, count: int | None = None) -> None:
    (claim,) = await store.summaries.claim(1)
    assert await store.summaries.commit(claim, "text", "m", "p", count or len(claim.pending))


async def items_of(store: Store) -> list[str]:
    return [one.item_id for one in (await store.users.read("u")).recents]


@pytest.mark.parametrize("today_folded", [False, True])
@pytest.mark.parametrize("late_folded", [False, True])
async def test_late_events_of_last_year_displace_none_of_today(
    store: Store, clock: Clock, today_folded: bool, late_folded: bool
) -> None:
    today = [happened(number, START_MS + number, f"today-{number}") for number in range(6)]
    late = [happened(10 + number, START_MS - YEAR_MS + number, f"late-{number}") for number in range(12)]
    await store.items.put_many([Item(one.item_id, one.item_id) for one in (*today, *late)])
    await store.events.accept(today, clock())
    if today_folded:
        await fold(store)
    await store.events.accept(late, clock())
    if late_folded:
        await fold(store)
    read = await store.users.read("u")
    assert [one.item_id for one in read.recents] == [one.item_id for one in (*late, *today)]
    items = await store.items.get_many([one.item_id for one in read.recents])
    shown = user_view(read, items, 6).recents
    assert [one.item.title for one in shown if one.item] == [one.item_id for one in today]


@pytest.mark.parametrize("recents", [RECENTS])
async def test_the_oldest_by_event_time_leave_first_and_stay_seen(store: Store, clock: Clock, recents: int) -> None:
    today = [happened(number, START_MS + number, f"today-{number}") for number in range(recents)]
    late = [happened(100 + number, START_MS - 1 - number, f"late-{number}") for number in range(40)]
    for batch in (today, late):
        await store.events.accept(batch, clock())
        while (await store.users.read("u")).pending:
            await fold(store)
    read = await store.users.read("u")
    assert [one.item_id for one in read.recents] == [one.item_id for one in today]
    assert read.seen == {one.item_id for one in (*today, *late)}


async def test_a_long_backlog_answers_with_its_newest_by_event_time_and_every_item_as_seen(
    store: Store, clock: Clock
) -> None:
    newest = [happened(number, START_MS + number) for number in range(RECENTS)]
    late = [happened(100 + number, START_MS - 900 + number) for number in range(900)]
    for start in range(0, 900, 300):
        await store.events.accept([*newest, *late[start : start + 300]], clock())
    read = await store.users.read("u")
    assert (read.pending, len(read.recents)) == (920, RECENTS)
    assert await items_of(store) == [one.item_id for one in newest]
    assert len(read.seen) == 920


async def test_events_of_one_time_stay_in_the_order_of_their_arrival(store: Store, clock: Clock) -> None:
    await store.events.accept([happened(number, START_MS) for number in range(3)], clock())
    await fold(store)
    await store.events.accept([happened(number, START_MS) for number in range(3, 6)], clock())
    assert await items_of(store) == [f"item-{number}" for number in range(6)]
    await fold(store)
    assert await items_of(store) == [f"item-{number}" for number in range(6)]


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_arrives_and_is_folded_when_recents_are_the_newest(
    store: Store, clock: Clock, seed: int
) -> None:
    drawn = random.Random(seed)
    sent: list[Event] = []
    for _ in range(25):
        batch = [_strange(drawn, len(sent) + number) for number in range(drawn.randrange(1, 5))]
        await store.events.accept(batch, clock())
        clock.pass_s(10)
        sent += batch
        if drawn.random() < 0.6:
            (claim,) = await store.summaries.claim(1)
            if drawn.random() < 0.2:
                assert await store.summaries.dead_letter(claim, "bad", 1) == "dead_lettered"
            else:
                assert await store.summaries.commit(claim, "t", "m", "p", drawn.randrange(1, len(claim.pending) + 1))
        assert _shown((await store.users.read("u")).recents) == _shown(_newest(sent))


def _strange(drawn: random.Random, number: int) -> Event:
    """An event with one of few times, and an id or value that a wrong pattern would take for the time."""
    item = drawn.choice(['a",5]', "b,7]", "c\\", 'd","e",1,2]', "ü€", f"item-{number}"])
    value = drawn.choice([None, 1.5, -2.0, 1e300, 3e-9, 7])
    return event("u", number, item=item, timestamp_ms=START_MS + drawn.randrange(40), value=value)


def _newest(sent: Sequence[Event]) -> list[Event]:
    return sorted(sent, key=lambda one: one.timestamp_ms)[-RECENTS:]


def _shown(events: Sequence[Event]) -> list[tuple[str, int, float | None]]:
    return [(one.item_id, one.timestamp_ms, one.value) for one in events]
