"""Draining: nothing new is claimed, and running work is finished or given back at once."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from model_store.views import InteractionView
from service.settings import Settings
from service.state.queues import Summaries
from service.state.records import SummaryClaim
from service.state.store import Store
from tests.redis_servers import RedisServer, on_both
from tests.workers.conftest import Start, Worker, event, put, text, until
from tests.workers.doubles import RecordingSummarizer, titles


class Gate:
    """A fault that keeps every call waiting until it is opened."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self, summary: str, block: Sequence[InteractionView]) -> None:
        self.entered.set()
        await self.opened.wait()


async def test_running_folds_are_finished_and_no_new_one_is_begun(store: Store, start: Start) -> None:
    gate = Gate()
    worker = await start(RecordingSummarizer(gate))
    await put(store, [event("u", number) for number in range(3)])
    await gate.entered.wait()
    worker.stop.set()
    await put(store, [event("late", number) for number in range(3)])
    gate.opened.set()
    await worker.task
    assert await text(store, "u") == "u-0 u-1 u-2"
    assert await text(store, "late") == ""
    (claim,) = await store.summaries.claim(5)
    assert claim.key == "late"


async def test_a_drained_catch_up_commits_the_blocks_that_are_folded(store: Store, start: Start) -> None:
    gate = Gate()
    engine = RecordingSummarizer(gate)
    worker = await start(engine)
    await put(store, [event("u", number) for number in range(40)])
    await gate.entered.wait()
    worker.stop.set()
    gate.opened.set()
    await worker.task
    assert len(engine.blocks) == 1
    assert (await text(store, "u")).split() == engine.blocks[0]
    (claim,) = await store.summaries.claim(5)
    assert claim.pending[0].event_id == f"u-{len(engine.blocks[0])}"


class TestShortDrain:
    @pytest.fixture
    def worker_settings(self) -> dict[str, Any]:
        return {"drain_s": 0.1}

    async def test_work_that_does_not_finish_in_time_is_given_back_and_can_be_claimed_at_once(
        self, store: Store, start: Start
    ) -> None:
        gate = Gate()
        engine = RecordingSummarizer(gate)
        worker = await start(engine)
        await put(store, [event("u", number) for number in range(3)])
        await gate.entered.wait()
        await worker.drain()
        assert engine.in_flight == 0
        assert worker.folds("released") == 1
        (claim,) = await store.summaries.claim(1)
        assert claim.attempts == 0
        assert len(claim.pending) == 3


class TestHeartbeat:
    @pytest.fixture
    def state(self) -> dict[str, Any]:
        return {"lease_s": 0.3}

    async def test_a_worker_whose_heartbeat_fails_ends_instead_of_working_without_leases(
        self, store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def broken(work: Summaries, claims: Sequence[SummaryClaim]) -> list[bool]:
            raise RuntimeError("a mistake of the program")

        monkeypatch.setattr(Summaries, "extend", broken)
        worker = Worker(settings, RecordingSummarizer(Gate()))
        await put(store, [event("u", number) for number in range(3)])
        async with asyncio.timeout(300):
            with pytest.raises(ExceptionGroup) as failed:
                await asyncio.shield(worker.task)
        assert failed.group_contains(RuntimeError, match="a mistake")

    async def test_a_worker_that_ends_because_it_can_not_claim_leaves_no_work_running(
        self, store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        claim, engine = Summaries.claim, RecordingSummarizer(Gate())

        async def broken(work: Summaries, limit: int) -> Sequence[SummaryClaim]:
            if engine.in_flight:
                raise RuntimeError("a mistake of the program")
            return await claim(work, limit)

        monkeypatch.setattr(Summaries, "claim", broken)
        worker = Worker(settings, engine)
        await put(store, [event("u", number) for number in range(3)])
        async with asyncio.timeout(300):
            with pytest.raises(ExceptionGroup) as failed:
                await asyncio.shield(worker.task)
        assert failed.group_contains(RuntimeError, match="a mistake")
        assert (engine.most_in_flight, engine.in_flight) == (1, 0)

    async def test_a_lease_that_is_lost_while_the_model_writes_is_counted(self, store: Store, start: Start) -> None:
        gate = Gate()
        worker = await start(RecordingSummarizer(gate))
        await put(store, [event("u", number) for number in range(3)])
        await gate.entered.wait()
        assert await store.users.delete("u")

        async def lost() -> bool:
            return worker.folds("lost") == 1

        await until(lost)

    async def test_it_also_ends_when_its_cancellation_is_lost_in_a_claim(
        self, store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        claim, waiting, lost = Summaries.claim, asyncio.Event(), asyncio.Event()

        async def broken(work: Summaries, claims: Sequence[SummaryClaim]) -> list[bool]:
            await waiting.wait()
            raise RuntimeError("a mistake of the program")

        async def losing(work: Summaries, limit: int) -> Sequence[SummaryClaim]:
            claims = await claim(work, limit)
            if not claims and not lost.is_set():
                waiting.set()
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    lost.set()
            return claims

        monkeypatch.setattr(Summaries, "extend", broken)
        monkeypatch.setattr(Summaries, "claim", losing)
        await put(store, [event("u", number) for number in range(3)])
        engine = RecordingSummarizer(Gate())
        worker = Worker(settings, engine)
        async with asyncio.timeout(300):
            with pytest.raises(ExceptionGroup) as failed:
                await asyncio.shield(worker.task)
        assert lost.is_set()
        assert failed.group_contains(RuntimeError, match="a mistake")


async def test_a_worker_outlives_a_restart_of_redis(
    tmp_path_factory: pytest.TempPathFactory, settings: Settings
) -> None:
    server = RedisServer(tmp_path_factory.mktemp("own"))
    server.start()
    own = settings.model_copy(update={"redis_url": server.url})
    store = Store(own)
    engine = RecordingSummarizer()
    worker = Worker(own, engine)
    await put(store, [event("u", number) for number in range(3)])

    async def folded(expected: int) -> bool:
        return len((await text(store, "u")).split()) == expected

    await until(lambda: folded(3))
    server.kill()

    async def noticed() -> bool:
        return worker.metrics.redis_up._value.get() == 0

    await until(noticed)
    server.start()
    await put(store, [event("u", number) for number in range(3, 6)])
    await until(lambda: folded(6))
    assert [title for block in engine.blocks for title in block] == [f"u-{number}" for number in range(6)]
    await worker.drain()
    await store.close()
    server.kill()


@on_both
async def test_two_workers_share_the_users_and_fold_every_event_once(store: Store, start: Start) -> None:
    engine = RecordingSummarizer()
    for _ in range(3):
        await start(engine)
    users = [f"u{number}" for number in range(30)]
    for burst in range(5):
        await put(store, [event(user, burst * 2 + n) for n in range(2) for user in users])

    async def all_folded() -> bool:
        return await store.users.backlog() == 0

    await until(all_folded)
    assert sum(len(block) for block in engine.blocks) == 300
    for user in users:
        assert (await text(store, user)).split() == [f"{user}-{number}" for number in range(10)]


async def test_logs_contain_no_users_no_items_and_no_texts(
    store: Store, start: Start, logs: list[dict[str, Any]]
) -> None:
    async def fault(summary: str, block: Sequence[InteractionView]) -> None:
        if titles(block)[0].startswith("secret"):
            raise ValueError("secret")

    await start(RecordingSummarizer(fault))
    await put(store, [event("secret", number) for number in range(3)])

    async def logged() -> bool:
        return {entry["event"] for entry in logs} >= {"working", "crashed", "retried", "dead_lettered"}

    await until(logged)
    assert "secret" not in repr([{k: v for k, v in entry.items() if k != "exc_info"} for entry in logs])
