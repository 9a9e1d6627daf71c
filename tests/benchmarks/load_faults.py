"""Faults under a moderate load: each is caused, held for a while and mended, and its claims are checked."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tests.benchmarks.load_claims import SLACK_MS, Claims, fault_row, share
from tests.benchmarks.load_rig import PausableVllm, Rig
from tests.benchmarks.load_traffic import (
    EVENTS,
    RECOMMENDING,
    Caller,
    Kind,
    Mix,
    Outcome,
    at_rate,
    of,
    until_true,
)
from tests.benchmarks.tables import percentile

_DRAIN_S = 120.0
_ENOUGH = 0.95
"""Of the recommendations that a fault does not concern: at random times too many come together, fault or not."""
_DUTY_S = (1.8, 0.2)
"""How long a slow summarizer is stopped, and runs, in turns."""


@dataclass(frozen=True)
class Fault:
    """What breaks, and what must still work.

    Args:
        unharmed: kinds of requests that must all get what they ask for.
        degrades: recommendations are degraded at most, and never fail.
    """

    name: str
    cause: Callable[[], Awaitable[None]]
    mend: Callable[[], Awaitable[None]]
    unharmed: tuple[Kind, ...] = EVENTS
    degrades: bool = True


@dataclass
class Trial:
    """One fault after the other, under the same load.

    Args:
        rate: requests per second.
        hold_s: how long each fault lasts.
        after_s: how long is looked for the recovery.
        tick: hears how many seconds have passed since it was last called.
    """

    rig: Rig
    caller: Caller
    mix: Mix
    rate: float
    hold_s: float
    deadline_ms: int
    claims: Claims
    tick: Callable[[float], None] = lambda done: None
    after_s: float = 15.0

    async def run(self, fault: Fault) -> list[str]:
        """Cause, hold, mend; returns the row of the table."""
        before = await self.rig.store.dead_letters.count()
        stop = asyncio.Event()
        traffic = asyncio.create_task(self._traffic(stop))
        await self._wait(self.hold_s / 2)
        began = time.monotonic()
        await fault.cause()
        await self._wait(self.hold_s)
        mending = time.monotonic()
        await fault.mend()
        mended = time.monotonic()
        await self._wait(self.after_s)
        stop.set()
        outcomes = await traffic
        during = [one for one in outcomes if began <= one.at < mending]
        recovered_s = recovery([one for one in outcomes if one.at >= mended], mended)
        drained = await until_true(self.rig.drained, _DRAIN_S)
        self._judge(fault, during, recovered_s, drained, await self.rig.store.dead_letters.count() - before)
        return fault_row(fault.name, during, recovered_s)

    def _judge(
        self, fault: Fault, during: Sequence[Outcome], recovered_s: float | None, drained: bool, letters: int
    ) -> None:
        check, name = self.claims.check, fault.name
        asked = of(during, RECOMMENDING)
        if fault.degrades:
            check(all(one.status == 200 for one in asked), f"{name}: every recommendation is answered with 200")
            late = percentile([1000 * one.latency_s for one in asked] or [0.0], 99)
            check(late <= self.deadline_ms + SLACK_MS, f"{name}: 99 % of recommendations are answered in time")
        check(all(one.status for one in during), f"{name}: every request gets an answer")
        check(
            all(one.status < 500 or one.status in (503, 504) for one in during),
            f"{name}: failures are 503, or 504 for a deadline of the caller",
        )
        for kind in fault.unharmed:
            whole = share(of(during, (kind,)), lambda one: one.full)
            enough = _ENOUGH if kind in RECOMMENDING else 1.0
            check(not of(during, (kind,)) or whole >= enough, f"{name}: {whole:.0%} of {kind} as without the fault")
        check(recovered_s is not None, f"{name}: all is well within {self.after_s:.0f} s after the end")
        check(drained, f"{name}: all events are in the summaries afterwards")
        check(letters == 0, f"{name}: no work is dead-lettered")

    async def _traffic(self, stop: asyncio.Event) -> list[Outcome]:
        outcomes: list[Outcome] = []
        while not stop.is_set():
            outcomes += await at_rate(self.caller, self.mix, self.rate, 1.0)
        return outcomes

    async def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left_s := end - time.monotonic()) > 0:
            slept = min(0.5, left_s)
            await asyncio.sleep(slept)
            self.tick(slept)


def recovery(after: Sequence[Outcome], mended: float) -> float | None:
    """Seconds from the mending until nearly all requests get what they ask for; None if they never do."""
    ordered = sorted(after, key=lambda one: one.at)
    for place in range(len(ordered)):
        rest = ordered[place:]
        if len(rest) < len(ordered) / 5:
            break
        if ordered[place].full and share(rest, lambda one: one.full) >= _ENOUGH:
            return 0.0 if place == 0 else ordered[place - 1].at + ordered[place - 1].latency_s - mended
    return None


def faults(rig: Rig) -> list[Fault]:
    """Those that can be caused here, the ones that take longest last."""
    found = [
        Fault("ranker stopped (SIGSTOP)", _now(rig.ranker.pause), _now(rig.ranker.resume)),
        Fault("workers gone", _now(rig.worker.kill), _started(rig)),
        slow_summarizer(rig),
        Fault(
            "Redis stopped (SIGSTOP)",
            _signal(rig, signal.SIGSTOP),
            _signal(rig, signal.SIGCONT),
            unharmed=(),
            degrades=False,
        ),
        Fault("Redis killed and restarted", _now(rig.redis.kill), _redis_back(rig), unharmed=(), degrades=False),
    ]
    if rig.pictures is not None:
        found.append(full_disk(rig))
    if isinstance(rig.ranker, PausableVllm):
        found.append(Fault("ranker killed", _now(rig.ranker.kill), rig.ranker.start_again))
    return found


def slow_summarizer(rig: Rig) -> Fault:
    """It runs a tenth of the time."""
    running = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    async def take_turns() -> None:
        while running.is_set():
            rig.summarizer.pause()
            await asyncio.sleep(_DUTY_S[0])
            rig.summarizer.resume()
            await asyncio.sleep(_DUTY_S[1])

    async def cause() -> None:
        running.set()
        tasks.append(asyncio.create_task(take_turns()))

    async def mend() -> None:
        running.clear()
        with suppress(asyncio.CancelledError):
            await tasks.pop()

    return Fault("summarizer slow (runs a tenth of the time)", cause, mend, unharmed=(*EVENTS, *RECOMMENDING))


def full_disk(rig: Rig) -> Fault:
    """The file system of the pictures is full."""
    assert rig.pictures is not None
    filler = rig.pictures / "filler"

    async def cause() -> None:
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    async def mend() -> None:
        filler.unlink()

    return Fault("picture disk full", cause, mend, unharmed=(*EVENTS, *RECOMMENDING, "item"))


def _now(call: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    async def later() -> None:
        call()

    return later


def _started(rig: Rig) -> Callable[[], Awaitable[None]]:
    async def start() -> None:
        rig.worker.start()
        await rig.worker.ready()

    return start


def _redis_back(rig: Rig) -> Callable[[], Awaitable[None]]:
    async def start() -> None:
        await asyncio.to_thread(rig.redis.start, "--appendfsync", "everysec")

    return start


def _signal(rig: Rig, number: signal.Signals) -> Callable[[], Awaitable[None]]:
    return _now(lambda: os.kill(rig.redis.pid, number))
