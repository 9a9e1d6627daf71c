"""Folding with a lease that must be held, and as many users at the same time as allowed."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from model_store.views import InteractionView
from service.state.cooccurrence import CooccurrenceCounts
from service.state.queues import Summaries
from service.state.records import SummaryClaim
from service.state.store import Store
from tests.workers.conftest import Start, event, put, until
from tests.workers.doubles import RecordingSummarizer, titles
from tests.workers.folding import names, popularity_is, summary_is, true
from workers.pool import HEARTBEATS_PER_LEASE


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
            await until(lambda: true(beats > HEARTBEATS_PER_LEASE))

        monkeypatch.setattr(Summaries, "extend", counting)
        engine = RecordingSummarizer(fault)
        await start(engine)
        await start(engine)
        await put(store, [event("u", number) for number in range(3)])
        await until(lambda: summary_is(store, "u", names("u", 3)))
        assert engine.attempts == [0], "asked once"

    async def test_a_heartbeat_after_the_commit_does_not_keep_its_events_from_being_counted(
        self, store: Store, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record, beats = CooccurrenceCounts.record, 0

        async def after_two_heartbeats(*counted: Any) -> None:
            nonlocal beats
            began = beats
            await until(lambda: true(beats >= began + 2))
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
        await until(lambda: popularity_is(store, dict.fromkeys(["u-0", "u-1", "u-2"], 1.0)))
        await until(lambda: true(worker.folds("committed") == 1))

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
            await until(lambda user=user: summary_is(store, user, names(user, 3)))

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
            await until(lambda user=user: summary_is(store, user, names(user, 3)))
        assert engine.most_in_flight == 8
