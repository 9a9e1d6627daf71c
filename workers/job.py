"""The base of all jobs: what to do with a claim, and what happens when that fails (invariants I4, I7).

| what failed | exception | what is done |
| --- | --- | --- |
| this work, such as a prompt that the model rejects | `WorkFailed` | retried with backoff, then dead-lettered |
| the model server | `ServerUnavailable` | no attempt is counted; all jobs that need the server pause |
| something else that this job needs, such as a folder | `JobUnavailable` | no attempt is counted; this job pauses |
| nothing, but no slot is free for this work now | `NotNow` | no attempt is counted; the work is retried later |
| Redis | `StateUnavailable` | the work is claimed again when its lease ends |
| anything unexpected | any other | as `WorkFailed` |
"""

import asyncio
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass
from typing import Generic, Literal

from model_store.engine.engine import Engine
from model_store.signals import Signals
from service.logs import get_logger
from service.metrics import Metrics
from service.pictures.store import PictureStore
from service.settings import Settings
from service.state.kinds import C
from service.state.leases import DeadLettered, LeasedQueue
from service.state.store import Store
from service.tracing import Span, Tracer
from workers.backoff import Pause, Retry

log = get_logger(__name__)

Outcome = Literal["committed", "refused", "lost"]
"""`refused`: the commit says that there is no result. `lost`: another worker has the lease."""


class WorkFailed(Exception):
    """This work can't be done.

    Args:
        reason: a fixed code for dead letters and logs.
        detail: a message for the owner of the item.
        server_answered: whether the model server is known to work.
    """

    def __init__(self, reason: str, detail: str = "", *, server_answered: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail
        self.server_answered = server_answered


class ServerUnavailable(Exception):
    """The model server seems to be down.

    `suspect` is the failure of this work if the work may be the cause. It counts if other work succeeds meanwhile.
    `asked` is false if the server was not asked, because its circuit breaker is open.
    """

    def __init__(self, message: str, suspect: WorkFailed | None = None, *, asked: bool = True) -> None:
        super().__init__(message)
        self.suspect = suspect
        self.asked = asked


class JobUnavailable(Exception):
    """Something that only this job needs is down."""


class NotNow(Exception):
    """The work can't be done before `retry_in_s`."""

    def __init__(self, retry_in_s: float) -> None:
        super().__init__(f"again in {retry_in_s:.1f} s")
        self.retry_in_s = retry_in_s


@dataclass(frozen=True, slots=True)
class Summarizer:
    """The model that writes for one or several tenants.

    Args:
        prompt: names the prompts of `engine`; stored with every summary.
        signals: what event types mean to the model version and in the settings.
    """

    engine: Engine
    prompt: str
    signals: Signals


@dataclass(frozen=True, slots=True)
class Resources:
    """What the jobs of one worker are built from, for one tenant.

    Args:
        stop: set when the worker must drain.
        on_exit: closes what a job opened.
        retry: for jobs that need the model server.
        server_pause: shared by the jobs that need the same model server.
        tracer: None without a collector.
    """

    settings: Settings
    store: Store
    summarizer: Summarizer
    pictures: PictureStore
    metrics: Metrics
    stop: asyncio.Event
    on_exit: AsyncExitStack
    retry: Retry
    server_pause: Pause
    tracer: Tracer | None = None

    @property
    def own_settings(self) -> Settings:
        """The settings with the models and the folders of this tenant."""
        return self.settings.of_tenant(self.store.tenant)


def grouped(tenants: Sequence[Resources], model: Callable[[Resources], Hashable]) -> list[list[Resources]]:
    """Those with the same model together: a server that hangs holds up only the tenants that use it."""
    groups: dict[Hashable, list[Resources]] = {}
    for tenant in tenants:
        groups.setdefault(model(tenant), []).append(tenant)
    return list(groups.values())


def by_summarizer(tenants: Sequence[Resources]) -> list[list[Resources]]:
    return grouped(tenants, lambda tenant: id(tenant.summarizer))


class Job(ABC, Generic[C]):
    """One kind of work. A subclass defines how it is done and what is dead-lettered."""

    def __init__(self, queue: LeasedQueue[C], retry: Retry, metrics: Metrics) -> None:
        self.name = queue.kind.name
        self._leases = queue
        self._retry = retry
        self._pause = Pause(retry)
        self._metrics = metrics

    @abstractmethod
    async def work(self, claim: C) -> Outcome:
        """Do the claimed work and commit it.

        Raises:
            WorkFailed, ServerUnavailable, JobUnavailable, NotNow: nothing was committed.
            StateUnavailable: it may have been committed or not.
        """

    @abstractmethod
    async def dead_letter(self, claim: C, failure: WorkFailed) -> DeadLettered:
        """Move the claimed work to the dead letters."""

    def traced(self, claim: C) -> AbstractContextManager[Span | None]:
        """The span of the claimed work, if its kind has any."""
        return nullcontext()

    async def claim(self, limit: int) -> Sequence[C]:
        return [] if self._pause.left_s() > 0 else await self._leases.claim(limit)

    async def extend(self, claims: Sequence[C]) -> list[bool]:
        """Renew leases. False for each that is lost."""
        return await self._leases.extend(claims)

    async def release(self, claim: C, retry_in_s: float = 0.0) -> None:
        """Give the claim back without counting an attempt."""
        if await self._leases.release(claim, retry_in_s):
            self._count("released")

    def lost(self) -> None:
        """Count claimed work whose lease was lost before its commit."""
        self._count("lost")

    async def run(self, claim: C) -> bool:
        """Do the claimed work, or handle its failure.

        Returns:
            Whether the model server is known to work.

        Raises:
            ServerUnavailable: no attempt was counted.
            StateUnavailable: the work may have been committed or not.
        """
        with self.traced(claim) as span:
            return await self._run(claim, span)

    async def _run(self, claim: C, span: Span | None) -> bool:
        started = time.perf_counter()
        try:
            outcome = await self.work(claim)
        except WorkFailed as failure:
            if span is not None:
                span.fail(failure.reason)
            self._observe(started)
            await self.fail(claim, failure)
            return failure.server_answered
        except JobUnavailable as error:
            wait_s = self._pause.trip()
            log.warning("job_unavailable", job=self.name, error=str(error)[:200], wait_s=round(wait_s, 2))
            await self.release(claim, wait_s)
            return False
        except NotNow as error:
            await self.release(claim, error.retry_in_s)
            return True
        self._pause.clear()
        self._observe(started)
        self._count(outcome)
        return True

    async def fail(self, claim: C, failure: WorkFailed, retry_in_s: float = 0.0) -> None:
        """Count a failed attempt. After the last one the work is dead-lettered, unless the dead letters are full."""
        attempt = claim.attempts + 1
        if attempt >= self._retry.attempts:
            outcome = await self.dead_letter(claim, failure)
            if outcome == "dead_lettered":
                self._count(outcome)
                log.warning("dead_lettered", job=self.name, reason=failure.reason, attempts=attempt)
            if outcome != "full":
                return
            log.error("dead_letters_full", job=self.name, reason=failure.reason, attempts=attempt)
        wait_s = max(retry_in_s, self._retry.delay_s(claim.attempts, random.random()))
        if await self._leases.fail(claim, wait_s):
            self._count("retried")
            log.info("retried", job=self.name, reason=failure.reason, attempt=attempt, wait_s=round(wait_s, 2))

    def _count(self, outcome: str) -> None:
        self._metrics.jobs.labels(self.name, outcome).inc()

    def _observe(self, started: float) -> None:
        self._metrics.job_seconds.labels(self.name).observe(time.perf_counter() - started)


def committed(done: bool) -> Outcome:
    """The outcome of a commit that was `done` or else lost."""
    return "committed" if done else "lost"
