"""Folding: every event once and in order, with few calls; a failure affects no other user."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from model_store.engine.breaker import Breaker, State
from model_store.engine.errors import (
    BadAnswer,
    EngineError,
    EngineOverloaded,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
    PromptTooLong,
)
from model_store.engine.guard import guarded
from model_store.views import InteractionView
from service.settings import Settings
from service.settings.signals import SignalSettings
from service.state.cooccurrence import CooccurrenceCounts
from service.state.queues import Summaries
from service.state.records import Event, Item, SummaryClaim
from service.state.store import Store
from tests.redis_servers import on_both
from tests.stores import collaborative, dead_letters, neighbours_of, popularity
from tests.workers.conftest import NOW_MS, Start, event, put, text, until
from tests.workers.doubles import Fault, RecordingSummarizer, titles
from workers.pool import HEARTBEATS_PER_LEASE


def failing(error: Callable[[], EngineError], when: Callable[[str, list[str]], bool]) -> Fault:
    """Raises `error` for calls of which `when`, given summary and titles, is true."""

    async def fault(summary: str, block: Sequence[InteractionView]) -> None:
        if when(summary, titles(block)):
            raise error()

    return fault


def about(user: str) -> Callable[[str, list[str]], bool]:
    return lambda summary, block: any(title.startswith(f"{user}-") for title in block)


def names(user: str, count: int) -> str:
    return " ".join(f"{user}-{number}" for number in range(count))


@on_both
async def test_every_event_is_folded_once_in_order_with_the_model_that_wrote_it(store: Store, start: Start) -> None:
    users = [f"u{number}" for number in range(20)]
    engine = RecordingSummarizer()
    worker = await start(engine)
    for burst in range(4):
        await put(store, [event(user, burst * 3 + n) for n in range(3) for user in users])
    for user in users:
        await until(lambda user=user: _is(store, user, names(user, 12)))
    read = await store.users.read("u0")
    assert read.pending == 0
    assert read.summary is not None
    assert (read.summary.model, read.summary.prompt, read.summary.event_ids[-1]) == ("double@1", "prompt", "u0-11")
    assert sorted(title for block in engine.blocks for title in block) == sorted(
        f"{user}-{number}" for user in users for number in range(12)
    )
    await until(lambda: _true(worker.metrics.folded_events._value.get() == 240))


async def _is(store: Store, user: str, expected: str) -> bool:
    return await text(store, user) == expected


async def test_freshness_is_the_time_from_acceptance_to_commit_of_each_event(store: Store, start: Start) -> None:
    worker_started = time.time()
    await put(store, [event("u", number) for number in range(7)])
    worker = await start(RecordingSummarizer())
    await until(lambda: _is(store, "u", names("u", 7)))
    await worker.drain()
    elapsed = time.time() - worker_started
    value = worker.metrics.registry.get_sample_value
    assert value("tastestream_event_to_summary_seconds_count") == 7
    assert 0 < (value("tastestream_event_to_summary_seconds_sum") or 0) < 7 * elapsed


async def test_what_is_folded_again_says_nothing_about_freshness(store: Store, start: Start) -> None:
    await put(store, [event("rebuilt", number) for number in range(3)])
    await put(store, [event("retried", number) for number in range(3)])
    claims = {claim.key: claim for claim in await store.summaries.claim(2)}
    assert await store.summaries.dead_letter(claims["retried"], "bad", 3) == "dead_lettered"
    await store.summaries.release(claims["rebuilt"])
    worker = await start(RecordingSummarizer())
    value = worker.metrics.registry.get_sample_value
    await until(lambda: _true(value("tastestream_folded_events_total") == 3))
    assert value("tastestream_event_to_summary_seconds_count") == 3
    (letter,) = await dead_letters(store)
    assert await store.dead_letters.retry(letter.id) == "retried"
    await until(lambda: _true(value("tastestream_folded_events_total") == 6))
    ids = [one.id async for one in store.log.read(store.log.bucket("rebuilt")) if one.event.user_id == "rebuilt"]
    (result,) = await store.rebuilds.rebuild({"rebuilt": ids}, ids[-1])
    assert result.outcome == "rebuilt"
    await until(lambda: _true(value("tastestream_folded_events_total") == 9))
    assert value("tastestream_event_to_summary_seconds_count") == 3


async def test_calls_to_the_model_are_counted_per_claim(store: Store, start: Start) -> None:
    await put(store, [event("u", number) for number in range(9)])
    await store.events.accept([event("unknown", number) for number in range(3)], 0)
    worker = await start(RecordingSummarizer())
    await until(lambda: _is(store, "u", names("u", 9)))
    await until(lambda: _folded_all(store, "unknown", 3))
    await worker.drain()
    value = worker.metrics.registry.get_sample_value
    assert value("tastestream_fold_llm_calls_count") == 2
    assert value("tastestream_fold_llm_calls_sum") == 3
    assert value("tastestream_fold_llm_calls_bucket", {"le": "0.0"}) == 1, "items that nobody knows cost none"


async def test_inside_a_block_events_are_ordered_by_their_time(store: Store, start: Start) -> None:
    late = [event("u", number, timestamp_ms=NOW_MS - number) for number in range(6)]
    await put(store, late)
    await start(RecordingSummarizer())
    await until(lambda: _is(store, "u", "u-2 u-1 u-0 u-5 u-4 u-3"))


async def test_a_burst_costs_one_call_per_full_block_and_a_long_backlog_few(store: Store, start: Start) -> None:
    engine = RecordingSummarizer()
    await put(store, [event("burst", number) for number in range(10)])
    await put(store, [event("long", number) for number in range(300)])
    await start(engine)
    await until(lambda: _is(store, "long", names("long", 300)))
    await until(lambda: _is(store, "burst", names("burst", 10)))
    assert sum(block[0].startswith("burst") for block in engine.blocks) == 3
    assert sum(block[0].startswith("long") for block in engine.blocks) <= 30


async def test_an_event_of_an_unknown_item_is_folded_without_the_model_and_counted(store: Store, start: Start) -> None:
    await store.items.put(Item("known", "known", picture="0" * 64))
    await store.events.accept([event("u", 1), Event("e2", "u", "known", "click", NOW_MS)], 0)
    worker = await start(RecordingSummarizer())
    await until(lambda: _is(store, "u", "known"))
    await worker.drain()
    assert worker.metrics.folded_events_missing.labels("item")._value.get() == 1
    assert worker.metrics.folded_events_missing.labels("description")._value.get() == 1


async def test_a_block_of_unknown_items_leaves_the_summary_as_it_is_without_a_call(store: Store, start: Start) -> None:
    engine = RecordingSummarizer()
    worker = await start(engine)
    await put(store, [event("u", number) for number in range(3)])
    await until(lambda: _is(store, "u", names("u", 3)))
    await store.events.accept([event("u", number) for number in range(3, 9)], 0)
    await store.events.accept([event("new", number) for number in range(3)], 0)
    await until(lambda: _folded_all(store, "u", 9))
    await until(lambda: _folded_all(store, "new", 3))
    assert (await text(store, "u"), await text(store, "new")) == (names("u", 3), "")
    assert len(engine.blocks) == 1
    await worker.drain()
    assert worker.metrics.folded_events_missing.labels("item")._value.get() == 9
    assert worker.metrics.folded_events._value.get() == 12


async def test_exposures_are_folded_without_a_call_and_change_nothing(store: Store, start: Start) -> None:
    engine = RecordingSummarizer()
    worker = await start(engine)
    shown = [event("u", number, type="impression") for number in range(6)]
    await store.items.put_many([Item(one.item_id, one.item_id) for one in shown])
    await store.events.accept(shown, 0, {"impression"})
    await put(store, [event("u", 6)])
    await until(lambda: _folded_all(store, "u", 7))
    assert (await text(store, "u"), engine.blocks) == ("u-6", [["u-6"]])
    user = await store.users.read("u")
    assert ([one.item_id for one in user.recents], user.seen) == (["u-6"], {"u-6"})
    await worker.drain()
    assert worker.metrics.folded_events_missing.labels("interaction")._value.get() == 6


async def _folded_all(store: Store, user: str, events: int) -> bool:
    read = await store.users.read(user)
    return read.pending == 0 and read.summary is not None and read.summary.events == events


async def test_likes_are_counted_together_with_earlier_likes(store: Store, start: Start) -> None:
    await start(RecordingSummarizer())
    await put(store, [event("u", 0), event("u", 1, type="dislike"), event("u", 2, type="view")])
    await until(lambda: _is(store, "u", names("u", 3)))
    await put(store, [event("u", 3), event("u", 4), event("u", 5, type="skip")])
    await until(lambda: _is(store, "u", names("u", 6)))
    await until(lambda: _popularity(store, {"u-0": 1, "u-1": 0, "u-2": 0, "u-3": 1, "u-4": 1, "u-5": 0}))
    assert set(await neighbours_of(store, "u-0", 9)) == {"u-3", "u-4"}
    assert set(await neighbours_of(store, "u-3", 9)) == {"u-0", "u-4"}
    assert await collaborative(store, ["u-3"], ["u-0", "u-4"]) == {"u-0": 1, "u-4": 1}, "counted once"


async def test_signals_decide_what_counts_as_liked(store: Store, start: Start) -> None:
    await start(RecordingSummarizer())
    liked = [("add_to_cart", None), ("buy", None), ("favorite", None), ("star", None), ("rating", 5.0)]
    others = [("rating", 1.0), ("rating", 3.0), ("thumbs_down", None), ("refund", None), ("wink", None)]
    kinds = [*liked, *others]
    await put(store, [event("u", number, type=kind, value=value) for number, (kind, value) in enumerate(kinds)])
    await until(lambda: _is(store, "u", names("u", len(kinds))))
    counts = {f"u-{number}": float(number < len(liked)) for number in range(len(kinds))}
    await until(lambda: _popularity(store, counts))
    assert await neighbours_of(store, "u-0", 99) == [f"u-{number}" for number in range(1, len(liked))]


async def test_the_settings_decide_what_counts_as_liked(store: Store, start: Start, settings: Settings) -> None:
    given = settings.model_copy(update={"signals": SignalSettings(positive=("wink",), neutral=("like",))})
    await start(RecordingSummarizer(), given)
    await put(store, [event("u", 0, type="wink"), event("u", 1, type="like")])
    await until(lambda: _is(store, "u", names("u", 2)))
    await until(lambda: _popularity(store, {"u-0": 1, "u-1": 0}))


async def _popularity(store: Store, expected: dict[str, float]) -> bool:
    return await popularity(store, list(expected)) == expected


async def like(store: Store, user: str, *items: str, start_at: int = 0) -> None:
    """Like the items one by one, each in a fold."""
    for number, item in enumerate(items, start_at):
        given = Event(f"{user}-{number}", user, item, "like", NOW_MS + number)
        assert await store.events.accept([given], 10**14) == ["accepted"]
        await until(lambda: _folded(store, user))


async def _folded(store: Store, user: str) -> bool:
    return (await store.users.read(user)).pending == 0


class TestOneUserIsOneVote:
    """In popularity and in co-occurrence, also across folds."""

    @pytest.fixture
    def state(self) -> dict[str, Any]:
        return {"block_size": 1}

    async def test_a_user_who_likes_two_items_in_turns_counts_once_for_each_and_once_for_both(
        self, store: Store, start: Start
    ) -> None:
        await store.items.put_many([Item("a", "a"), Item("b", "b")])
        await start(RecordingSummarizer())
        await like(store, "u", *["a", "b"] * 8)
        await until(lambda: _popularity(store, {"a": 1, "b": 1}))
        assert await collaborative(store, ["a"], ["b"]) == {"b": 1}

    async def test_nine_hundred_likes_of_one_item_are_one(self, store: Store, start: Start) -> None:
        await store.items.put_many([Item("a", "a"), Item("b", "b")])
        await start(RecordingSummarizer())
        for start_at in range(0, 900, 300):
            likes = [Event(f"u-{n}", "u", "a", "like", NOW_MS + n) for n in range(start_at, start_at + 300)]
            assert await store.events.accept(likes, 10**14) == ["accepted"] * 300
            await until(lambda: _folded(store, "u"))
        await like(store, "v", "b")
        await like(store, "w", "b")
        await until(lambda: _popularity(store, {"a": 1, "b": 2}))

    async def test_signing_up_liking_and_deleting_again_and_again_leaves_nothing(
        self, store: Store, start: Start
    ) -> None:
        await store.items.put_many([Item(name, name) for name in "abc"])
        await start(RecordingSummarizer())
        await like(store, "other", "a", "b")
        await until(lambda: _popularity(store, {"a": 1, "b": 1, "c": 0}))
        for round_ in range(5):
            await like(store, f"u{round_}", "a", "b", "c", "a")
            await until(lambda: _popularity(store, {"a": 2, "b": 2, "c": 1}))
            await until(lambda: _near(store, "c", {"a", "b"}))
            assert await store.users.delete(f"u{round_}")
        assert await _popularity(store, {"a": 1, "b": 1, "c": 0})
        assert await collaborative(store, ["a", "c"], ["b"]) == {"b": 1}

    async def test_an_item_liked_first_among_many_views_is_still_paired_and_taken_back(
        self, store: Store, start: Start
    ) -> None:
        """It has left the recents and is found by its digest."""
        await store.items.put_many([Item("a", "a"), Item("b", "b")])
        await start(RecordingSummarizer())
        await like(store, "u", "a")
        views = [event("u", number, type="view") for number in range(100, 160)]
        await put(store, views)
        await until(lambda: _folded(store, "u"))
        await like(store, "u", "b", "a", start_at=200)
        await until(lambda: _popularity(store, {"a": 1, "b": 1}))
        await until(lambda: _near(store, "b", {"a"}))
        assert await collaborative(store, ["a"], ["b"]) == {"b": 1}
        await store.users.delete("u")
        assert await _popularity(store, {"a": 0, "b": 0})
        assert await _near(store, "b", set())


async def test_likes_that_come_before_their_item_count_when_it_comes(store: Store, start: Start) -> None:
    await store.items.put(Item("a", "a"))
    await start(RecordingSummarizer())
    for user in ("u", "v", "w"):
        await store.events.accept(
            [Event(f"{user}1", user, "a", "like", 1), Event(f"{user}2", user, "late", "like", 2)], 10**14
        )
    await until(lambda: _popularity(store, {"a": 3}))
    await until(lambda: _nothing_pending(store))
    await store.items.put(Item("late", "late"))
    assert await _popularity(store, {"a": 3, "late": 3})
    assert await collaborative(store, ["a"], ["late"]) == {"late": 1}


async def _nothing_pending(store: Store) -> bool:
    return await store.users.backlog() == 0


async def _near(store: Store, item: str, expected: set[str]) -> bool:
    return set(await neighbours_of(store, item, 9)) == expected


class TestPoison:
    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (lambda: BadAnswer("empty", "nothing"), "answer_empty"),
            (lambda: BadAnswer("too_long", "endless"), "answer_too_long"),
            (lambda: EngineRejected("400"), "engine_rejected"),
        ],
    )
    async def test_a_poisoned_user_is_dead_lettered_and_blocks_no_other(
        self, store: Store, start: Start, error: Callable[[], EngineError], reason: str
    ) -> None:
        engine = RecordingSummarizer(failing(error, about("poison")))
        worker = await start(engine)
        await put(store, [event("poison", number) for number in range(3)])
        for number in range(10):
            await put(store, [event(f"u{number}", n) for n in range(3)])
            await until(lambda number=number: _is(store, f"u{number}", names(f"u{number}", 3)))
        await until(lambda: _dead_lettered(store, 1))
        (letter,) = await dead_letters(store)
        assert (letter.key, letter.reason, len(letter.events)) == ("poison", reason, 3)
        read = await store.users.read("poison")
        assert (read.summary, read.pending) == (None, 0)
        assert worker.folds("retried") == 4
        assert sorted(attempt for attempt in engine.attempts if attempt) == [1, 2, 3, 4], "each attempt has its number"

    async def test_the_old_summary_stays_and_later_events_are_folded_into_it(self, store: Store, start: Start) -> None:
        bad = failing(lambda: BadAnswer("empty", ""), lambda summary, block: "u-4" in block)
        await start(RecordingSummarizer(bad))
        await put(store, [event("u", number) for number in range(3)])
        await until(lambda: _is(store, "u", names("u", 3)))
        await put(store, [event("u", number) for number in range(3, 9)])
        await until(lambda: _is(store, "u", names("u", 3) + " u-6 u-7 u-8"))
        (letter,) = await dead_letters(store)
        assert [e.event_id for e in letter.events] == ["u-3", "u-4", "u-5"]

    async def test_blocks_before_the_bad_one_are_kept_and_few_events_of_a_long_backlog_are_dead_lettered(
        self, store: Store, start: Start
    ) -> None:
        bad = failing(lambda: BadAnswer("empty", ""), lambda summary, block: "u-30" in block)
        await start(RecordingSummarizer(bad))
        await put(store, [event("u", number) for number in range(60)])
        await until(lambda: _pending(store, "u", 0))
        (letter,) = await dead_letters(store)
        dead_lettered = [e.event_id for e in letter.events]
        assert "u-30" in dead_lettered
        assert len(dead_lettered) == 3
        assert (await text(store, "u")).split() == [n for n in names("u", 60).split() if n not in dead_lettered]

    async def test_blocks_too_long_for_the_model_are_folded_in_smaller_ones(self, store: Store, start: Start) -> None:
        engine = RecordingSummarizer(failing(lambda: PromptTooLong("400"), lambda summary, block: len(block) > 3))
        await start(engine)
        await put(store, [event("u", number) for number in range(60)])
        await until(lambda: _is(store, "u", names("u", 60)))
        assert await store.dead_letters.count() == 0

    async def test_a_retried_dead_letter_is_folded_when_the_model_works_again(self, store: Store, start: Start) -> None:
        engine = RecordingSummarizer(failing(lambda: BadAnswer("empty", ""), about("u")))
        await start(engine)
        await put(store, [event("u", number) for number in range(3)])
        await until(lambda: _dead_lettered(store, 1))
        engine.fault = failing(lambda: BadAnswer("empty", ""), lambda summary, block: False)
        (letter,) = await dead_letters(store)
        assert await store.dead_letters.retry(letter.id) == "retried"
        await until(lambda: _is(store, "u", names("u", 3)))

    async def test_work_that_crashes_is_retried_and_dead_lettered(self, store: Store, start: Start) -> None:
        async def fault(summary: str, block: Sequence[InteractionView]) -> None:
            if titles(block)[0].startswith("poison"):
                raise RuntimeError("a mistake of the program")

        await start(RecordingSummarizer(fault))
        await put(store, [event("poison", number) for number in range(3)])
        await put(store, [event("u", number) for number in range(3)])
        await until(lambda: _is(store, "u", names("u", 3)))
        await until(lambda: _dead_lettered(store, 1))
        (letter,) = await dead_letters(store)
        assert letter.reason == "internal_error"


async def _dead_lettered(store: Store, count: int) -> bool:
    return await store.dead_letters.count() == count


async def _pending(store: Store, user: str, count: int) -> bool:
    return (await store.users.read(user)).pending == count


class TestOutage:
    @pytest.mark.parametrize("error", [EngineUnavailable, EngineTimeout, EngineOverloaded])
    async def test_an_engine_that_is_down_costs_no_attempt_and_few_calls(
        self, store: Store, start: Start, error: type[EngineError]
    ) -> None:
        calls = 0

        async def fault(summary: str, block: Sequence[InteractionView]) -> None:
            nonlocal calls
            calls += 1
            if calls <= 30:
                raise error("down")

        worker = await start(RecordingSummarizer(fault))
        await put(store, [event(f"u{user}", number) for user in range(3) for number in range(3)])
        for user in range(3):
            await until(lambda user=user: _is(store, f"u{user}", names(f"u{user}", 3)))
        assert worker.folds("retried") == worker.folds("dead_lettered") == 0
        assert worker.folds("released") == 30
        assert await store.dead_letters.count() == 0

    async def test_while_the_breaker_is_open_nothing_is_asked_and_no_attempt_is_counted(
        self, store: Store, start: Start
    ) -> None:
        now, calls = 0.0, 0
        breaker = Breaker(clock=lambda: now)

        async def fault(summary: str, block: Sequence[InteractionView]) -> None:
            nonlocal calls
            with guarded(breaker, "http://summarizer"):
                calls += 1
                if now == 0:
                    raise EngineUnavailable("down")

        worker = await start(RecordingSummarizer(fault, breaker=breaker))
        await put(store, [event(f"u{user}", number) for user in range(12) for number in range(3)])

        async def released() -> bool:
            return worker.folds("released") >= 12

        await until(released)
        assert breaker.state is State.OPEN
        unasked = worker.metrics.engine_calls.labels("summarizer", "summarize", "engine_open")._value.get()
        assert calls == 5
        # More on a slow machine: the worker's pause ends by the real clock, the breaker's by the test's.
        assert unasked >= 12 - calls
        now = 60.0
        for user in range(12):
            await until(lambda user=user: _is(store, f"u{user}", names(f"u{user}", 3)))
        assert worker.folds("retried") == worker.folds("dead_lettered") == 0
        assert await store.dead_letters.count() == 0

    async def test_a_server_that_does_not_serve_the_model_counts_as_down(self, store: Store, start: Start) -> None:
        engine = RecordingSummarizer(failing(lambda: EngineRejected("404"), about("u")), serves=False)
        worker = await start(engine)
        await put(store, [event("u", number) for number in range(3)])

        async def released() -> bool:
            return worker.folds("released") >= 8

        await until(released)
        assert worker.folds("retried") == 0
        engine.fault = failing(lambda: EngineRejected("404"), lambda summary, block: False)
        await until(lambda: _is(store, "u", names("u", 3)))

    @pytest.mark.parametrize("error", [EngineTimeout, EngineUnavailable])
    async def test_a_user_whose_calls_always_fail_is_dead_lettered_when_others_get_through(
        self, store: Store, start: Start, error: type[EngineError]
    ) -> None:
        worker = await start(RecordingSummarizer(failing(lambda: error("always"), about("poison"))))
        await put(store, [event("poison", number) for number in range(3)])
        others = 0
        while not await store.dead_letters.count():
            await self._fold_another(store, others := others + 1)
        (letter,) = await dead_letters(store)
        assert (letter.key, letter.reason, len(letter.events)) == ("poison", error.code, 3)
        assert worker.folds("retried") == 4

    @pytest.mark.parametrize(("error", "serves"), [(EngineOverloaded, True), (EngineUnavailable, False)])
    async def test_shed_load_and_an_unhealthy_server_are_no_users_fault(
        self, store: Store, start: Start, error: type[EngineError], serves: bool
    ) -> None:
        worker = await start(RecordingSummarizer(failing(lambda: error("now"), about("u")), serves=serves))
        await put(store, [event("u", number) for number in range(3)])
        others = 0
        while worker.folds("released") < 8:
            await self._fold_another(store, others := others + 1)
        assert worker.folds("retried") == worker.folds("dead_lettered") == 0

    @staticmethod
    async def _fold_another(store: Store, number: int) -> None:
        assert number < 200, "retried forever"
        await put(store, [event(f"other{number}", one) for one in range(3)])
        await until(lambda: _is(store, f"other{number}", names(f"other{number}", 3)))


class TestLease:
    @pytest.fixture
    def state(self) -> dict[str, Any]:
        return {"lease_s": 1.5}

    async def test_a_fold_longer_than_the_lease_is_held_by_heartbeats(
        self, store: Store, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        extend, beats = Summaries.extend, 0

        async def counting(work: Summaries, claims: Sequence[SummaryClaim]) -> list[bool]:
            nonlocal beats
            held = await extend(work, claims)
            beats += 1
            return held

        async def fault(summary: str, block: Sequence[InteractionView]) -> None:
            await until(lambda: _true(beats > HEARTBEATS_PER_LEASE))

        monkeypatch.setattr(Summaries, "extend", counting)
        engine = RecordingSummarizer(fault)
        await start(engine)
        await start(engine)
        await put(store, [event("u", number) for number in range(3)])
        await until(lambda: _is(store, "u", names("u", 3)))
        assert engine.attempts == [0], "asked once"

    async def test_a_heartbeat_after_the_commit_does_not_keep_its_events_from_being_counted(
        self, store: Store, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record, beats = CooccurrenceCounts.record, 0

        async def after_two_heartbeats(*counted: Any) -> None:
            nonlocal beats
            began = beats
            await until(lambda: _true(beats >= began + 2))
            await record(*counted)

        async def extend(work: Summaries, claims: Sequence[SummaryClaim]) -> list[bool]:
            nonlocal beats
            held = await extended(work, claims)
            beats += 1
            return held

        extended = Summaries.extend
        monkeypatch.setattr(CooccurrenceCounts, "record", after_two_heartbeats)
        monkeypatch.setattr(Summaries, "extend", extend)
        worker = await start(RecordingSummarizer())
        await put(store, [event("u", number) for number in range(3)])
        await until(lambda: _popularity(store, dict.fromkeys(["u-0", "u-1", "u-2"], 1.0)))
        await until(lambda: _true(worker.folds("committed") == 1))

    async def test_a_worker_that_loses_its_lease_is_cancelled_and_changes_nothing(
        self, store: Store, start: Start
    ) -> None:
        entered = asyncio.Event()

        async def fault(summary: str, block: Sequence[InteractionView]) -> None:
            entered.set()
            await asyncio.sleep(60)

        stuck = RecordingSummarizer(fault)
        worker = await start(stuck)
        await put(store, [event("u", number) for number in range(3)])
        await entered.wait()
        await store.users.delete("u")

        async def left() -> bool:
            return stuck.in_flight == 0

        await until(left)
        assert worker.folds("lost") == 1
        assert stuck.blocks == []
        assert (await store.users.read("u")).summary is None


async def _true(value: bool) -> bool:
    return value


class TestConcurrency:
    @pytest.fixture
    def worker_settings(self) -> dict[str, Any]:
        return {"max_concurrent_summaries": 8}

    async def test_all_slots_are_filled_and_a_free_one_is_refilled_at_once(self, store: Store, start: Start) -> None:
        full, end = asyncio.Event(), asyncio.Event()
        engine = RecordingSummarizer()
        slow: set[str] = set()

        async def fault(summary: str, block: Sequence[InteractionView]) -> None:
            user = titles(block)[0]
            if len(slow) < 7:
                slow.add(user)
            if engine.in_flight == 8:
                full.set()
            await full.wait()
            if user in slow:
                await end.wait()

        engine.fault = fault
        users = [f"u{number}" for number in range(40)]
        await put(store, [event(user, number) for user in users for number in range(3)])
        await start(engine)

        async def all_but_seven() -> bool:
            return len(engine.blocks) == 33

        await until(all_but_seven)
        assert engine.most_in_flight == 8
        end.set()
        for user in users:
            await until(lambda user=user: _is(store, user, names(user, 3)))

    async def test_while_all_calls_are_in_use_the_next_users_are_claimed_already(
        self, store: Store, start: Start
    ) -> None:
        end = asyncio.Event()

        async def fault(summary: str, block: Sequence[InteractionView]) -> None:
            await end.wait()

        engine = RecordingSummarizer(fault)
        users = [f"u{number}" for number in range(40)]
        await put(store, [event(user, number) for user in users for number in range(3)])
        await start(engine)

        async def ten_claimed() -> bool:
            return engine.in_flight == 8 and (await store.summaries.due())[0] == 30

        await until(ten_claimed)
        end.set()
        for user in users:
            await until(lambda user=user: _is(store, user, names(user, 3)))
        assert engine.most_in_flight == 8
