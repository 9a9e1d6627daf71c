"""Events without an id: a request that is sent again changes nothing, a repetition is another event."""

from collections.abc import Sequence

import pytest

from service.events.batch import parse_events
from service.state import ids
from service.state.store import Store
from tests.service.state.conftest import Clock, event

BEYOND_S = 62


async def send(store: Store, clock: Clock, *kinds: str, item: str = "i", **fields: object) -> list[str]:
    """One request about one item, with neither ids nor times."""
    raw = [{"user_id": "u", "item_id": item, "type": kind, **fields} for kind in kinds]
    return list(await store.events.accept(parse_events(raw, clock(), 1000).events, clock()))


async def kinds(store: Store) -> list[str]:
    return [one.type for one in (await store.users.read("u")).recents]


async def test_like_dislike_like_ends_at_like(store: Store, clock: Clock) -> None:
    for kind in ("like", "dislike", "like"):
        assert await send(store, clock, kind) == ["accepted"]
        clock.pass_s(1)
    assert await kinds(store) == ["like", "dislike", "like"]
    assert await send(store, clock, "like") == ["duplicate"], "a retry of the last"


@pytest.mark.parametrize(
    "request_", [("like",), ("like", "dislike", "like"), ("play", "play", "play"), ("view", "click", "view", "view")]
)
async def test_a_request_that_is_sent_again_soon_changes_nothing(
    store: Store, clock: Clock, request_: Sequence[str]
) -> None:
    assert await send(store, clock, *request_) == ["accepted"] * len(request_)
    for _ in range(3):
        clock.pass_s(19)
        assert await send(store, clock, *request_) == ["duplicate"] * len(request_)
    assert await kinds(store) == list(request_)


async def test_a_repetition_minutes_later_is_another_event(store: Store, clock: Clock) -> None:
    for _ in range(3):
        assert await send(store, clock, "play") == ["accepted"]
        clock.pass_s(BEYOND_S)
    assert await kinds(store) == ["play"] * 3


async def test_events_about_other_items_do_not_interrupt_a_retry(store: Store, clock: Clock) -> None:
    await send(store, clock, "like", item="a")
    await send(store, clock, "like", item="b")
    assert await send(store, clock, "like", item="a") == ["duplicate"]


async def test_other_content_is_another_event(store: Store, clock: Clock) -> None:
    await send(store, clock, "rating", value=4)
    assert await send(store, clock, "rating", value=5) == ["accepted"]
    assert await send(store, clock, "rating", value=5, context={"page": "home"}) == ["accepted"]


async def test_with_a_time_the_same_content_is_the_same_event_however_late_it_comes(store: Store, clock: Clock) -> None:
    assert await send(store, clock, "play", timestamp=5) == ["accepted"]
    assert await send(store, clock, "play", timestamp=6) == ["accepted"]
    clock.pass_s(3000)
    assert await send(store, clock, "play", timestamp=5) == ["duplicate"]


async def test_what_is_new_in_a_request_that_is_sent_again_is_accepted(store: Store, clock: Clock) -> None:
    """As after a full backlog in its middle."""
    assert await send(store, clock, "like") == ["accepted"]
    clock.pass_s(1)
    assert await send(store, clock, "like", "dislike", "like") == ["duplicate", "accepted", "accepted"]


async def test_requests_that_are_written_together_are_kept_apart(store: Store, clock: Clock) -> None:
    parsed = [parse_events([{"user_id": "u", "item_id": "i"}], clock(), 1000).events for _ in range(2)]
    entries = [store.events._entry(one, clock(), number, (), None) for number, (one,) in enumerate(parsed)]
    assert await store.events._writes._write(entries) == ["accepted", "duplicate"]


async def test_what_was_logged_is_known_when_it_is_posted_again_with_its_ids(store: Store, clock: Clock) -> None:
    for kind in ("like", "dislike", "like"):
        await send(store, clock, kind)
        clock.pass_s(1)
    await store.events.accept([event("u", 1)], clock())
    logged = [one.event async for one in store.log.read(store.log.bucket("u"))]
    assert len({one.event_id for one in logged}) == 4
    assert await store.events.accept(logged, clock()) == ["duplicate"] * 4


async def test_equal_events_of_a_request_are_all_counted_once(store: Store, clock: Clock) -> None:
    for _ in range(5):
        assert await send(store, clock, *["play"] * 190) == ["accepted"] * 190
        assert await send(store, clock, *["play"] * 190) == ["duplicate"] * 190
        clock.pass_s(BEYOND_S)


@pytest.mark.parametrize(
    "event_id",
    ["arrived:", "arrived:xyz", "arrived:" + "g" * 16, "arrived:" + "0" * 17, "arrived:" + "00 " * 5 + " ", "e"],
)
def test_a_callers_id_that_resembles_an_arrival_id_is_hashed_like_any_other(event_id: str) -> None:
    assert len(ids.digest(event_id)) == 8


def test_an_id_by_arrival_is_its_digest() -> None:
    one = ids.of_arrival("i", b"content", 0, 1_760_000_000_000)
    assert ids.digest(one).hex() == one.removeprefix("arrived:")


async def test_the_seconds_may_wrap_around(store: Store, clock: Clock) -> None:
    clock.ms = 256**3 * 1000 * 110 - 2000
    assert await send(store, clock, "play") == ["accepted"]
    clock.pass_s(3)
    assert await send(store, clock, "play") == ["duplicate"]
