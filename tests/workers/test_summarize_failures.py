"""Folding when the model fails: a failure affects no other user, and an outage costs no attempt."""

from collections.abc import Callable, Sequence

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
from service.state.store import Store
from tests.stores import dead_letters
from tests.workers.conftest import Start, event, put, text, until
from tests.workers.doubles import RecordingSummarizer, titles
from tests.workers.folding import about, failing, names, summary_is


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
            await until(lambda number=number: summary_is(store, f"u{number}", names(f"u{number}", 3)))
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
        await until(lambda: summary_is(store, "u", names("u", 3)))
        await put(store, [event("u", number) for number in range(3, 9)])
        await until(lambda: summary_is(store, "u", names("u", 3) + " u-6 u-7 u-8"))
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
        await until(lambda: summary_is(store, "u", names("u", 60)))
        assert await store.dead_letters.count() == 0

    async def test_a_retried_dead_letter_is_folded_when_the_model_works_again(self, store: Store, start: Start) -> None:
        engine = RecordingSummarizer(failing(lambda: BadAnswer("empty", ""), about("u")))
        await start(engine)
        await put(store, [event("u", number) for number in range(3)])
        await until(lambda: _dead_lettered(store, 1))
        engine.fault = failing(lambda: BadAnswer("empty", ""), lambda summary, block: False)
        (letter,) = await dead_letters(store)
        assert await store.dead_letters.retry(letter.id) == "retried"
        await until(lambda: summary_is(store, "u", names("u", 3)))

    async def test_work_that_crashes_is_retried_and_dead_lettered(self, store: Store, start: Start) -> None:
        async def fault(summary: str, block: Sequence[InteractionView]) -> None:
            if titles(block)[0].startswith("poison"):
                raise RuntimeError("a mistake of the program")

        await start(RecordingSummarizer(fault))
        await put(store, [event("poison", number) for number in range(3)])
        await put(store, [event("u", number) for number in range(3)])
        await until(lambda: summary_is(store, "u", names("u", 3)))
        await until(lambda: _dead_lettered(store, 1))
        (letter,) = await dead_letters(store)
        assert letter.reason == "internal_error"


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
            await until(lambda user=user: summary_is(store, f"u{user}", names(f"u{user}", 3)))
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
            await until(lambda user=user: summary_is(store, f"u{user}", names(f"u{user}", 3)))
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
        await until(lambda: summary_is(store, "u", names("u", 3)))

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
        await until(lambda: summary_is(store, f"other{number}", names(f"other{number}", 3)))


async def _dead_lettered(store: Store, count: int) -> bool:
    return await store.dead_letters.count() == count


async def _pending(store: Store, user: str, count: int) -> bool:
    return (await store.users.read(user)).pending == count
