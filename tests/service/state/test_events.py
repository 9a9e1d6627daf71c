"""I1, I2, I6: accepted events are stored once, in order, and visible immediately."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis
from pydantic import ValidationError

from service.errors import InvalidRequest, Overloaded, StateUnavailable
from service.settings import Settings
from service.settings.limits import LimitSettings
from service.settings.state import StateSettings
from service.state.event_log import FIRST
from service.state.keys import Keys
from service.state.redis import memory
from service.state.redis.scripts import SPARE_RECENTS
from service.state.store import Store
from tests.redis_servers import RedisServer, admin_of
from tests.service.state.conftest import START_MS, Clock, event
from tests.stores import dead_letters
from tests.workers.conftest import until


async def test_an_accepted_event_is_among_the_recents_and_the_seen_at_once(store: Store) -> None:
    context = {"page": "home", "empty": [], "none": None}
    given = event("u", 1, value=4.5, recommendation_id="r1", context=context)
    assert await store.events.accept([given], START_MS) == ["accepted"]

    read = await store.users.read("u")
    assert [(e.item_id, e.type, e.timestamp_ms, e.value) for e in read.recents] == [("item-1", "click", START_MS, 4.5)]
    assert read.pending == 1
    assert read.seen == {"item-1"}
    assert read.summary is None


async def test_a_claim_carries_every_field_of_an_event(store: Store, clock: Clock) -> None:
    given = [
        event("ü}{u", 1, value=0.25, recommendation_id="r", context={"a": {"b": []}, "n": 2**53}),
        event("ü}{u", "é\n\"'", item="i}{ \x00", type="purchase"),
    ]
    assert await store.events.accept(given, START_MS) == ["accepted", "accepted"]
    clock.pass_s(60)
    (claim,) = await store.summaries.claim(5)
    assert claim.pending == tuple(given)


async def test_the_same_event_twice_is_a_duplicate_in_one_batch_and_across_batches(store: Store) -> None:
    assert await store.events.accept([event("u", 1), event("u", 1), event("u", 2)], START_MS) == [
        "accepted",
        "duplicate",
        "accepted",
    ]
    assert await store.events.accept([event("u", 2), event("v", 2)], START_MS) == ["duplicate", "accepted"]
    assert (await store.users.read("u")).pending == 2


async def test_a_whole_batch_of_one_user_may_be_sent_again_after_any_part_was_folded(
    store: Store, clock: Clock, settings: Settings
) -> None:
    batch = [event("u", number) for number in range(settings.limits.batch_events)]
    assert set(await store.events.accept(batch, START_MS)) == {"accepted"}
    for _ in range(5):
        (claim,) = await store.summaries.claim(1)
        await store.summaries.commit(claim, "text", "m", "p", len(claim.pending))
    assert set(await store.events.accept(batch, START_MS)) == {"duplicate"}


async def test_an_event_sent_again_after_its_id_was_forgotten_is_accepted(store: Store, clock: Clock) -> None:
    """README names the bound, so that a sink can rely on it."""
    batches = [[event("u", 900 * part + number) for number in range(900)] for part in range(3)]
    for batch in batches:
        assert set(await store.events.accept(batch, START_MS)) == {"accepted"}
        while (await store.users.read("u")).pending:
            (claim,) = await store.summaries.claim(1)
            await store.summaries.commit(claim, "text", "m", "p", len(claim.pending))
    assert set(await store.events.accept(batches[2], START_MS)) == {"duplicate"}
    assert set(await store.events.accept(batches[0], START_MS)) == {"accepted"}


def test_the_memory_holds_at_least_one_batch() -> None:
    with pytest.raises(ValidationError, match="DEDUPE_IDS must not be less than LIMITS__BATCH_EVENTS"):
        Settings(limits=LimitSettings(batch_events=2000))
    assert Settings(limits=LimitSettings(batch_events=2000), state=StateSettings(dedupe_ids=2000))


async def test_a_batch_keeps_the_order_of_each_user(store: Store, clock: Clock) -> None:
    batch = [event(user, number) for number in range(20) for user in ("a", "b", "c")]
    await store.events.accept(batch, START_MS)
    for claim in await store.summaries.claim(5):
        assert [e.event_id for e in claim.pending] == [f"{claim.key}-{number}" for number in range(20)]


async def test_concurrent_accepts_of_one_event_accept_it_once(store: Store) -> None:
    results = await asyncio.gather(*(store.events.accept([event("u", 1)], START_MS) for _ in range(20)))
    assert sorted(result for (result,) in results) == ["accepted"] + ["duplicate"] * 19
    assert (await store.users.read("u")).pending == 1


async def test_a_context_that_json_cannot_hold_is_refused_before_anything_is_written(store: Store) -> None:
    with pytest.raises(InvalidRequest):
        await store.events.accept([event("u", 1), event("u", 2, context={"n": 2**70})], START_MS)
    assert (await store.users.read("u")).pending == 0


async def test_scripts_are_given_again_to_a_redis_that_lost_them(store: Store, redis_url: str) -> None:
    await store.events.accept([event("u", 1)], START_MS)
    with admin_of(redis_url) as admin:
        admin.script_flush()
    batch = [event(f"u{number}", number) for number in range(20)]
    assert set(await store.events.accept(batch, START_MS)) == {"accepted"}


class TestBounds:
    @pytest.fixture
    def state(self) -> dict[str, int]:
        return {"recents": 5, "seen_items": 7, "max_pending": 10}

    async def test_events_over_the_backlog_are_refused_and_accepted_later(self, store: Store, clock: Clock) -> None:
        batch = [event("u", number) for number in range(12)]
        assert await store.events.accept(batch, START_MS) == ["accepted"] * 10 + ["backlog_full"] * 2
        (claim,) = await store.summaries.claim(1)
        await store.summaries.commit(claim, "text", "m", "p", 10)
        assert await store.events.accept(batch, START_MS) == ["duplicate"] * 10 + ["accepted"] * 2

    async def test_recents_and_seen_keep_the_newest(self, store: Store, clock: Clock) -> None:
        for number in range(30):
            await store.events.accept([event("u", number)], START_MS)
            if (await store.users.read("u")).pending == 10:
                (claim,) = await store.summaries.claim(1)
                await store.summaries.commit(claim, "text", "m", "p", 10)
        read = await store.users.read("u")
        assert [e.item_id for e in read.recents] == [f"item-{number}" for number in range(25, 30)]
        newest = [f"item-{number}" for number in range(29, -1, -1)]
        assert read.seen >= set(newest[: 5 + 7])
        assert read.seen <= set(newest[: 5 + SPARE_RECENTS + 8])

    async def test_an_item_seen_many_times_displaces_no_other(self, store: Store, clock: Clock) -> None:
        for number in range(60):
            item = f"item-{number}" if number in (40, 41, 42) else "again"
            assert await store.events.accept([event("u", number, item=item)], START_MS) == ["accepted"]
            for claim in await store.summaries.claim(1):
                await store.summaries.commit(claim, "text", "m", "p", len(claim.pending))
        assert (await store.users.read("u")).seen >= {"item-40", "item-41", "item-42", "again"}


class TestFewSeen:
    @pytest.fixture
    def state(self) -> dict[str, int]:
        return {"recents": 10, "seen_items": 2}

    async def test_pending_events_are_all_among_the_recents_however_few_items_are_remembered(
        self, store: Store
    ) -> None:
        await store.events.accept([event("u", number) for number in range(8)], START_MS)
        read = await store.users.read("u")
        assert [e.item_id for e in read.recents] == [f"item-{number}" for number in range(8)]
        assert read.seen == {f"item-{number}" for number in range(8)}


class TestBacklogOfAll:
    """The bound for all users is divided evenly among the buckets."""

    @pytest.fixture
    def state(self) -> dict[str, int]:
        return {"buckets": 2, "max_backlog": 20}

    async def test_further_events_are_refused_until_some_are_folded_dead_lettered_or_deleted(
        self, store: Store, clock: Clock
    ) -> None:
        bucket = Keys(2).bucket
        users = [name for name in map(str, range(99)) if bucket(name) == 0][:4]
        other = next(name for name in map(str, range(99)) if bucket(name) == 1)
        for user in users[:2]:
            assert set(await store.events.accept([event(user, n) for n in range(5)], START_MS)) == {"accepted"}
        batch = [event(users[2], n) for n in range(3)]
        assert set(await store.events.accept(batch, START_MS)) == {"overloaded"}
        mixed = [event(users[0], 0), event(other, 1), *batch]
        assert await store.events.accept(mixed, START_MS) == ["duplicate", "accepted"] + ["overloaded"] * 3

        claims = {claim.key: claim for claim in await store.summaries.claim(2)}
        assert await store.summaries.commit(claims[users[0]], "text", "m", "p", 2)
        assert await store.summaries.dead_letter(claims[users[1]], "bad", 1) == "dead_lettered"
        assert await store.users.backlog() == 8
        assert await store.events.accept(batch, START_MS) == ["accepted"] * 3
        assert await store.events.accept([event(users[3], 1)], START_MS) == ["overloaded"]
        await store.users.delete(users[1])
        assert await store.users.backlog() == 7
        assert await store.events.accept([event(users[3], 1)], START_MS) == ["accepted"]

    async def test_a_retried_dead_letter_counts_again(self, store: Store) -> None:
        await store.events.accept([event("u", n) for n in range(3)], START_MS)
        (claim,) = await store.summaries.claim(1)
        assert await store.summaries.dead_letter(claim, "bad", 3) == "dead_lettered"
        assert await store.users.backlog() == 0
        (letter,) = await dead_letters(store)
        assert await store.dead_letters.retry(letter.id) == "retried"
        assert await store.users.backlog() == 3


class TestFailures:
    @pytest.fixture
    async def own(self, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[RedisServer, Store]]:
        server = RedisServer(tmp_path_factory.mktemp("own"))
        server.start()
        state = StateSettings(buckets=2, clock_skew_s=0, redis_timeout_s=20)
        store = Store(Settings(redis_url=server.url, state=state))
        yield server, store
        await store.close()
        server.kill()

    async def test_what_was_acknowledged_survives_kill_9_of_redis(self, own: tuple[RedisServer, Store]) -> None:
        server, store = own
        batch = [event(f"u{number % 7}", number) for number in range(50)]
        assert set(await store.events.accept(batch, START_MS)) == {"accepted"}
        server.kill()
        with pytest.raises(StateUnavailable):
            await store.events.accept([event("u0", 99)], START_MS)
        server.start()
        assert set(await store.events.accept(batch, START_MS)) == {"duplicate"}
        claims = await store.summaries.claim(10)
        assert sorted(e.event_id for claim in claims for e in claim.pending) == sorted(e.event_id for e in batch)

    async def test_a_full_redis_refuses_events_whole_and_can_be_drained(self, own: tuple[RedisServer, Store]) -> None:
        server, store = own
        await store.events.accept([event("u", number) for number in range(6)], START_MS)
        with redis.Redis(unix_socket_path=str(server.socket)) as admin:
            admin.config_set("maxmemory", "1")
        with pytest.raises(StateUnavailable):
            await store.events.accept([event("u", 7)], START_MS)
        with pytest.raises(StateUnavailable):
            await store.rebuilds.rebuild({"u": []}, FIRST)
        (claim,) = await store.summaries.claim(1)
        assert len(claim.pending) == 6
        assert await store.summaries.extend([claim]) == [True]
        assert await store.summaries.commit(claim, "text", "m", "p", 3)
        (claim,) = await store.summaries.claim(1)
        assert await store.summaries.fail(claim, 0)
        (claim,) = await store.summaries.claim(1)
        assert await store.summaries.dead_letter(claim, "bad", 1) == "dead_lettered"
        read = await store.users.read("u")
        assert (read.pending, read.summary is not None) == (2, True)
        assert await store.users.delete("u")

    async def test_events_are_refused_before_memory_is_used_up_and_taken_again_when_there_is_some(
        self, own: tuple[RedisServer, Store], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(memory, "CHECK_INTERVAL_S", 0.0)
        server, store = own

        async def answers(expected: str) -> bool:
            try:
                (said,) = await store.events.accept([event("u", 1)], START_MS)
            except Overloaded as error:
                said = error.code
            return said == expected

        await until(lambda: answers("duplicate"))
        with redis.Redis(unix_socket_path=str(server.socket)) as admin:
            used = int(admin.info("memory")["used_memory"])
            admin.config_set("maxmemory", int(used * 1.02))
            await until(lambda: answers("overloaded"))
            admin.config_set("maxmemory", used * 2)
            await until(lambda: answers("duplicate"))

    async def test_what_no_replica_has_is_not_acknowledged_where_one_is_asked_for(
        self, own: tuple[RedisServer, Store]
    ) -> None:
        server, _ = own
        strict = StateSettings(buckets=2, wait_replicas=1, replication_timeout_s=0.05)
        store = Store(Settings(redis_url=server.url, state=strict))
        with pytest.raises(StateUnavailable, match="WAIT reached 0"):
            await store.events.accept([event("u", 1)], START_MS)
        with pytest.raises(StateUnavailable, match="WAIT reached 0"):
            await store.events.accept([event("u", 1)], START_MS)
        with pytest.raises(StateUnavailable, match="WAIT reached 0"):
            await store.users.delete("u")
        await store.close()
