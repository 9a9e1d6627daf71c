"""The event log: accepted events in order, bounded by age and number, until their user is deleted."""

from typing import Any

import pytest

from service.state import event_log
from service.state.event_log import Logged
from service.state.keys import Keys
from service.state.store import Store
from tests.redis_servers import admin_of
from tests.service.state.conftest import START_MS, Clock, event


@pytest.fixture
def state() -> dict[str, Any]:
    return {"buckets": 2, "event_log_size": 400, "event_log_retention_s": 3600, "max_pending": 10_000}


def bucket(user: str) -> int:
    return Keys(2).bucket(user)


async def log_of(store: Store, user: str) -> list[Logged]:
    return [one async for one in store.log.read(bucket(user)) if one.event.user_id == user]


async def logged(store: Store, user: str) -> list[str]:
    return [one.event.event_id for one in await log_of(store, user)]


async def test_every_accepted_event_is_logged_whole_in_the_order_of_acceptance(store: Store) -> None:
    given = [event("u", 1, value=2.5, context={"a": [1]}), event("u", 2, recommendation_id="r"), event("u", 3)]
    await store.events.accept([*given, given[0]], START_MS)
    await store.events.accept(given, START_MS)
    assert [one.event for one in await log_of(store, "u")] == given
    assert await store.log.count() == 3


async def test_a_long_log_is_read_page_by_page(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_log, "PAGE", 7)
    await store.events.accept([event("u", number) for number in range(50)], START_MS)
    assert await logged(store, "u") == [f"u-{number}" for number in range(50)]


async def test_the_log_is_bounded_by_count(store: Store) -> None:
    for start in range(0, 2000, 500):
        await store.events.accept([event("u", number) for number in range(start, start + 500)], START_MS)
    names = await logged(store, "u")
    assert 200 <= len(names) <= 200 + 100, "whole nodes of a stream are removed"
    assert names[-1] == "u-1999"


async def test_the_log_is_bounded_by_age(store: Store, clock: Clock) -> None:
    await store.events.accept([event("u", number) for number in range(150)], START_MS)
    clock.ms = int((await log_of(store, "u"))[0].id.partition("-")[0])
    assert await store.log.trim() == 0
    clock.pass_s(3700)
    assert await store.log.trim() == 150
    assert await logged(store, "u") == []


async def test_the_older_half_of_the_log_is_removed_when_memory_is_short(store: Store) -> None:
    await store.events.accept([event("u", number) for number in range(150)], START_MS)
    assert await store.log.trim(short=True) == 75
    assert await logged(store, "u") == [f"u-{number}" for number in range(75, 150)]


async def test_a_deletion_removes_only_that_user_from_the_log(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "PAGE", 7)
    other = next(name for name in map(str, range(99)) if bucket(name) == bucket("u"))
    await store.events.accept([event(user, number) for number in range(30) for user in ("u", other)], START_MS)
    assert await store.users.delete("u")
    assert await logged(store, "u") == []
    assert len(await logged(store, other)) == 30
    clock.pass_s(1)
    await store.events.accept([event("u", "new")], clock())
    assert await logged(store, "u") == ["u-new"]


async def test_a_user_with_nothing_but_logged_events_is_deleted(store: Store, redis_url: str) -> None:
    await store.events.accept([event("u", 1)], START_MS)
    with admin_of(redis_url) as admin:
        admin.delete(*(key for key in admin.keys("*") if not key.endswith(b":log")))
    assert await store.users.delete("u")
    assert await store.log.count() == 0
    assert not await store.users.delete("u")


class TestWithoutLog:
    @pytest.fixture
    def state(self) -> dict[str, Any]:
        return {"event_log_size": 0}

    async def test_nothing_is_logged_where_the_settings_say_so(self, store: Store) -> None:
        await store.events.accept([event("u", 1)], START_MS)
        assert await store.log.count() == 0
        assert await store.users.delete("u")
