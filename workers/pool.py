"""Claim, work, refill, drain: the loop around one kind of work, for one or several tenants.

Up to `concurrency` claims are worked at the same time, and a free slot is refilled at once. Meanwhile, one heartbeat
renews all their leases. Work whose lease is lost is cancelled.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Generic

from cachetools import FIFOCache

from service.errors import StateUnavailable
from service.logs import get_logger
from service.settings import Settings
from service.state.kinds import C
from workers.backoff import Pause
from workers.job import Job, ServerUnavailable, WorkFailed
from workers.turns import Turns

log = get_logger(__name__)

HEARTBEATS_PER_LEASE = 3
_REMEMBERED_FAILURES = 4096
_PROBING_S = 1.0
"""While few calls find out whether the model server is back, other work waits for them."""


class Pool(Generic[C]):
    """Works on the jobs of one kind until it is stopped.

    Args:
        jobs: one for each tenant; they take turns.
        pause: shared by all pools that need the same model server.
        concurrency: claims worked at the same time.
    """

    def __init__(self, jobs: Sequence[Job[C]], pause: Pause, concurrency: int, settings: Settings) -> None:
        self._name = jobs[0].name
        self._turns = Turns(jobs, settings.worker.poll_s)
        self._pause = pause
        self._concurrency = concurrency
        self._poll_s = settings.worker.poll_s
        self._beat_s = settings.state.lease_s / HEARTBEATS_PER_LEASE
        self._drain_s = settings.worker.drain_s
        self._running: dict[asyncio.Task[None], tuple[Job[C], C]] = {}
        self._failed_at: FIFOCache[tuple[Job[C], str], float] = FIFOCache(_REMEMBERED_FAILURES)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish or give back what is running.

        Raises:
            ExceptionGroup: the heartbeat or a claim failed unexpectedly.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                heartbeat = tasks.create_task(self._heartbeat())
                stopping = tasks.create_task(stop.wait())
                while not stop.is_set() and not heartbeat.done():
                    enough = await self._fill()
                    await self._wait({stopping, heartbeat}, enough)
                if heartbeat.done():
                    return
                await self._drain()
                heartbeat.cancel()
        finally:
            # After a failure or a cancellation, nobody renews the leases of what still runs.
            await _cancel(self._running)

    async def _fill(self) -> bool:
        """Claim work for every free slot. False if there was not enough, or none may be claimed now."""
        if self._pause.left_s() > 0:
            return False
        free = self._concurrency - len(self._running)
        if free <= 0:
            return True
        try:
            claims = await self._turns.claim(free)
        except StateUnavailable as error:
            log.warning("claim_failed", job=self._name, error=error.detail, wait_s=self._pause.trip())
            return False
        for job, claim in claims:
            task = asyncio.create_task(self._work(job, claim))
            self._running[task] = (job, claim)
            task.add_done_callback(self._running.pop)
        return len(claims) == free

    async def _wait(self, ending: AbstractSet[asyncio.Task[Any]], enough: bool) -> None:
        """Wait until one of `ending` is done or a slot is free; after too little work, for the poll interval."""
        if enough:
            await asyncio.wait({*ending, *self._running}, return_when=asyncio.FIRST_COMPLETED)
        else:
            await asyncio.wait(ending, timeout=self._poll_s, return_when=asyncio.FIRST_COMPLETED)

    async def _work(self, job: Job[C], claim: C) -> None:
        try:
            await self._attempt(job, claim)
        except Exception:
            log.exception("crashed", job=self._name)
            with contextlib.suppress(StateUnavailable):
                await job.fail(claim, WorkFailed("internal_error"))

    async def _attempt(self, job: Job[C], claim: C) -> None:
        started = self._pause.now()
        try:
            server_works = await job.run(claim)
        except ServerUnavailable as error:
            await self._server_unavailable(job, claim, error, started)
        except StateUnavailable as error:
            log.warning("state_unavailable", job=self._name, error=error.detail, wait_s=self._pause.trip())
        else:
            self._failed_at.pop((job, claim.key), None)
            if server_works:
                self._pause.clear()

    async def _server_unavailable(self, job: Job[C], claim: C, error: ServerUnavailable, started: float) -> None:
        """Pause all work, unless other work succeeded meanwhile: then only this claim waits, for the longest delay.

        Meanwhile is since the claim's last such failure, or else since it started. If the claim may be the cause, it
        counts as a failed attempt (I7); otherwise it would be retried forever. A claim for which the server was not
        asked says nothing: it waits until its breaker may be closed again.
        """
        if not error.asked:
            with contextlib.suppress(StateUnavailable):
                await job.release(claim, max(_PROBING_S, self._pause.left_s()))
            return
        alone = self._pause.cleared_since(self._failed_at.pop((job, claim.key), started))
        self._failed_at[job, claim.key] = self._pause.now()
        wait_s = self._pause.max_s if alone else self._pause.trip()
        log.warning("server_unavailable", job=self._name, error=str(error), wait_s=round(wait_s, 2), alone=alone)
        with contextlib.suppress(StateUnavailable):
            if alone and error.suspect is not None:
                await job.fail(claim, error.suspect, wait_s)
            else:
                await job.release(claim, wait_s)

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(self._beat_s)
            owned: dict[Job[C], dict[asyncio.Task[None], C]] = defaultdict(dict)
            for task, (job, claim) in self._running.items():
                owned[job][task] = claim
            await asyncio.gather(*(self._extend(job, running) for job, running in owned.items()))

    async def _extend(self, job: Job[C], running: Mapping[asyncio.Task[None], C]) -> None:
        """Renew the leases of a job's `running` claims."""
        try:
            held = await job.extend(list(running.values()))
        except StateUnavailable as error:
            log.warning("heartbeat_failed", job=self._name, error=error.detail)
            return
        for task, holds in zip(running, held, strict=True):
            if not holds and task in self._running:
                log.warning("lease_lost", job=self._name)
                job.lost()
                task.cancel()

    async def _drain(self) -> None:
        deadline = time.monotonic() + self._drain_s
        while self._running and (left_s := deadline - time.monotonic()) > 0:
            log.info("draining", job=self._name, running=len(self._running), left_s=round(left_s, 1))
            await asyncio.wait(set(self._running), timeout=left_s)
        late = dict(self._running)
        await _cancel(late)
        with contextlib.suppress(StateUnavailable):
            await asyncio.gather(*(job.release(claim, 0.0) for job, claim in late.values()))


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel these tasks, and wait until they have ended."""
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
