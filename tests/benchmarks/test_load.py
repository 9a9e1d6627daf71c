"""The load test in a small form: a real Redis, gateway and worker, and model servers that stop when told to."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from model_store.errors import UserError
from tests.benchmarks.load_claims import Claims, Level, check_levels, quantile
from tests.benchmarks.load_faults import Trial, faults, recovery
from tests.benchmarks.load_rig import HISTORY, Rig, fill, running_rig, small_disk
from tests.benchmarks.load_traffic import Mix, Outcome, calling
from tests.benchmarks.vllm import World
from tests.faults.summarizer import SummarizerServer, _answer
from tests.service.serving import VERSION, ModelServer, serving

DEADLINE_MS = 2000
WORLD = World(60)
TIMED = ("in time", "as without the fault", "all is well")
"""Claims that a busy machine may break."""


class PausableRanker:
    def __init__(self, model: ModelServer) -> None:
        self.pause = model.answering.clear
        self.resume = model.answering.set


class PausableSummarizer:
    def __init__(self, server: SummarizerServer) -> None:
        self._server = server
        self._running = asyncio.Event()
        self._running.set()
        server.before_answer = self._wait

    async def _wait(self, _: list[str]) -> None:
        await self._running.wait()

    def pause(self) -> None:
        self._running.clear()

    def resume(self) -> None:
        self._running.set()


class Writer(SummarizerServer):
    """Writes the same about all users, and about all pictures."""

    async def _complete(self, prompt: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.before_answer([])
        writer.write(_answer({"choices": [{"finish_reason": "stop", "message": {"content": "likes harbours"}}]}))


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    model = ModelServer()
    with small_disk(tmp_path / "pictures") as pictures:
        async with serving(model.app()) as url, Writer() as writer:
            environment = {
                "TASTESTREAM_RANKER__URL": url,
                "TASTESTREAM_RANKER__MODEL": VERSION,
                "TASTESTREAM_SUMMARIZER__URL": writer.url,
                "TASTESTREAM_SUMMARIZER__MODEL": "double",
                "TASTESTREAM_STATE__MAX_WAIT_S": "0.5",
                # What a killed worker had claimed is free again after so long.
                "TASTESTREAM_STATE__LEASE_S": "5",
                "TASTESTREAM_RECOMMEND__RETRIEVE": "10",
            }
            ranker, summarizer = PausableRanker(model), PausableSummarizer(writer)
            async with running_rig(tmp_path, environment, ranker, summarizer, pictures) as rig:
                yield rig


async def test_faults_lose_no_acknowledged_event_and_leave_no_caller_without_an_answer(rig: Rig) -> None:
    people = WORLD.people(20, HISTORY)
    await fill(rig, WORLD, people)
    titles = {item.item_id: item.title for item in WORLD.items.values()}
    mix = Mix([person.user_id for person in people], titles, "run", candidates=5, deadline_ms=DEADLINE_MS)
    async with calling(rig.gateway.url) as caller:
        claims = Claims()
        trial = Trial(rig, caller, mix, 20.0, 2.0, DEADLINE_MS, claims, after_s=2.0)
        rows = {fault.name: await trial.run(fault) for fault in faults(rig)}
        failed = [claim for held, claim in claims.checked if not held and not any(one in claim for one in TIMED)]
        assert failed == []
        assert "ranker_" in rows["ranker stopped (SIGSTOP)"][3]
        assert "503" in rows["Redis killed and restarted"][1]
        assert caller.accepted
        assert await rig.lost(caller.accepted) == set()
        assert await rig.lost({"never sent"}) == {"never sent"}


def outcome(at: float, status: int = 200, reason: str = "", latency_s: float = 0.1) -> Outcome:
    return Outcome("given", at, latency_s, status, reason)


def test_recovery_is_when_nearly_all_get_what_they_ask_for_again() -> None:
    good = [outcome(10 + number / 10) for number in range(100)]
    assert recovery(good, 10.0) == 0
    bad = [outcome(10 + number / 10, 503) for number in range(20)]
    assert recovery([*bad, *good[20:]], 10.0) == pytest.approx(2.0)
    assert recovery([*bad, *good[20:50], outcome(15, reason="ranker_busy"), *good[51:]], 10.0) == pytest.approx(2.0)
    assert recovery([outcome(10 + number / 10, 503) for number in range(100)], 10.0) is None
    assert recovery([], 10.0) is None


def level(share: float, ranked: int, **more: Any) -> Level:
    asked = [*(outcome(0.0) for _ in range(ranked)), *(outcome(0.0, reason="ranker_busy") for _ in range(5))]
    return Level(share, 10.0, [*asked, *more.pop("others", ())], {}, drained=True, memory_mib=100.0)


def failing(*levels: Level) -> list[str]:
    claims = Claims()
    check_levels(claims, levels, DEADLINE_MS)
    return [claim for held, claim in claims.checked if not held]


def test_the_claims_about_levels_fail_when_they_should() -> None:
    good = level(1, 100)
    assert failing(good, level(5, 95)) == []
    assert "goodput is 50%" in failing(good, level(5, 50))[0]
    assert failing(good, level(5, 95, others=[outcome(0.0, 503)])) == ["at 5 x capacity, no request fails"]
    assert failing(good, level(5, 95, others=[Outcome("event", 0.0, 0.1, 429)])) == [
        "at 5 x capacity, every event is accepted"
    ]
    late = [outcome(0.0, latency_s=3.0) for _ in range(10)]
    assert failing(good, level(5, 95, others=late)) == ["at 5 x capacity, 99 % of recommendations are answered in time"]


def test_a_claim_that_does_not_hold_fails_the_command() -> None:
    claims = Claims()
    claims.check(True, "water is wet")
    claims.require()
    claims.check(False, "the moon is near")
    assert claims.lines() == ["holds: water is wet", "FAILS: the moon is near"]
    with pytest.raises(UserError, match="1 of 2 claims do not hold: the moon is near"):
        claims.require()


def test_a_quantile_of_buckets_is_the_bound_of_its_bucket() -> None:
    buckets = {1.0: 5.0, 5.0: 9.0, float("inf"): 10.0}
    assert [quantile(buckets, q) for q in (0.5, 0.9, 0.99)] == ["< 1", "< 5", "more"]
    assert quantile({}, 0.5) == "-"
