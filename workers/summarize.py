"""Folds a user's pending events, block by block, into the summary (MLLM-MSR, stage 2)."""

import asyncio
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple

from model_store.blocks import blocks
from service.errors import StateUnavailable
from service.logs import get_logger
from service.state import votes
from service.state.leases import DeadLettered
from service.state.records import Event, Item, SummaryClaim
from service.state.views import interaction_views
from service.tracing import Span, from_store
from workers.job import Job, Outcome, Resources, ServerUnavailable, WorkFailed, by_summarizer, committed
from workers.model_calls import ModelRejected, answer_of
from workers.pool import Pool

log = get_logger(__name__)


class Liked(NamedTuple):
    """Items that the user likes for the first time, and those counted for the user before.

    `to_come` names those of both that are not in the catalogue yet. None stands for an item that is no longer known.
    """

    items: Sequence[str]
    before: Sequence[str | None]
    to_come: frozenset[str]


_NOTHING_LIKED = Liked((), (), frozenset())


def make_pools(tenants: Sequence[Resources]) -> list[Pool[SummaryClaim]]:
    return [_pool(group) for group in by_summarizer(tenants)]


def _pool(tenants: Sequence[Resources]) -> Pool[SummaryClaim]:
    worker = tenants[0]
    most = worker.settings.worker.max_concurrent_summaries
    calls = asyncio.Semaphore(most)
    # A quarter more claims than calls: their events and items are already read when the model becomes free.
    claims = most + math.ceil(most / 4)
    return Pool([SummarizeJob(tenant, calls) for tenant in tenants], worker.server_pause, claims, worker.settings)


class SummarizeJob(Job[SummaryClaim]):
    """Rewrites users' summaries. `calls` are the free calls to the model."""

    def __init__(self, worker: Resources, calls: asyncio.Semaphore) -> None:
        super().__init__(worker.store.summaries, worker.retry, worker.metrics)
        self._store = worker.store
        self._engine = worker.summarizer.engine
        self._prompt = worker.summarizer.prompt
        self._settings = worker.settings.state
        self._calls = calls
        self._stop = worker.stop
        self._signals = worker.summarizer.signals
        self._committing: set[int] = set()
        self._tracer = worker.tracer

    def traced(self, claim: SummaryClaim) -> AbstractContextManager[Span | None]:
        """A span in the trace of the first event. What is folded again was caused by somebody else."""
        if self._tracer is None:
            return nullcontext()
        stored = (event.trace for event in claim.pending if event.trace is not None and not event.refolded)
        fold = self._tracer.work("fold", [place for text in stored if (place := from_store(text)) is not None])
        fold.add({"tastestream.events": len(claim.pending), "tastestream.attempt": claim.attempts + 1})
        return fold

    async def extend(self, claims: Sequence[SummaryClaim]) -> list[bool]:
        """A claim that is being committed counts as held, since its commit ends the lease."""
        held = await super().extend(claims)
        return [holds or claim.token in self._committing for holds, claim in zip(held, claims, strict=True)]

    async def work(self, claim: SummaryClaim) -> Outcome:
        """Fold the claim's events and commit.

        If a later block fails, the earlier ones are committed, and the user's next claim starts with the failed one.
        """
        items = await self._store.items.get_many([event.item_id for event in claim.pending])
        text, folded, failure = await self._fold(claim, items)
        if failure is not None and not folded:
            raise failure
        self._committing.add(claim.token)
        try:
            done = await self._commit(claim, text, folded, items)
        finally:
            self._committing.discard(claim.token)
        if isinstance(failure, ServerUnavailable):
            self._count(committed(done))
            raise failure
        return committed(done)

    async def dead_letter(self, claim: SummaryClaim, failure: WorkFailed) -> DeadLettered:
        """The first block is the one that failed, since earlier ones would have been committed."""
        return await self._store.summaries.dead_letter(claim, failure.reason, self._plan(claim)[0])

    async def _fold(self, claim: SummaryClaim, items: Mapping[str, Item]) -> tuple[str, int, Exception | None]:
        """The new text, how many events are in it, and the failure that kept the others out."""
        text, folded, calls = claim.base.text if claim.base else "", 0, 0
        try:
            for count in self._plan(claim):
                if folded and self._stop.is_set():
                    break
                attempt = 0 if folded else claim.attempts
                block = self._informative(claim.pending[folded : folded + count], items)
                calls += bool(block)
                text = await self._step(text, block, items, attempt) if block else text
                folded += count
        except (ModelRejected, ServerUnavailable) as failure:
            return text, folded, failure
        finally:
            self._metrics.fold_llm_calls.observe(calls)
        return text, folded, None

    def _plan(self, claim: SummaryClaim) -> list[int]:
        """The lengths of the blocks: short after a failure, so that few events are dead-lettered with a bad one."""
        state = self._settings
        pending = len(claim.pending)
        if claim.attempts:
            pending = min(pending, state.block_size * state.claim_blocks)
        return blocks(pending, state.block_size, state.catch_up_block, state.claim_blocks)

    def _informative(self, block: Sequence[Event], items: Mapping[str, Item]) -> list[Event]:
        """The events that a model is shown: one that sees items without text invents a taste."""
        return [event for event in block if event.item_id in items and not event.exposure]

    async def _step(self, summary: str, block: Sequence[Event], items: Mapping[str, Item], attempt: int) -> str:
        """One recurrent step: summary[n] = LLM(summary[n-1], block), the block by event time."""
        views = interaction_views(sorted(block, key=lambda event: event.timestamp_ms), items)
        async with self._calls:
            answer = self._engine.summarize(summary, views, attempt=attempt)
            return await answer_of("summarize", answer, self._engine, self._metrics)

    async def _commit(self, claim: SummaryClaim, text: str, folded: int, items: Mapping[str, Item]) -> bool:
        events = claim.pending[:folded]
        liked = await self._newly_liked(claim, events)
        if not await self._store.summaries.commit(claim, text, self._engine.id, self._prompt, folded, liked.items):
            return False
        self._metrics.folded_events.inc(folded)
        now_s = time.time()
        for accepted_ms in claim.accepted_ms[:folded]:
            if accepted_ms is not None:
                # Redis's clock may be ahead of this one.
                self._metrics.event_to_summary.observe(max(0.0, now_s - accepted_ms / 1000))
        missing = sum(event.item_id not in items and not event.exposure for event in events)
        self._metrics.folded_events_missing.labels("item").inc(missing)
        self._metrics.folded_events_missing.labels("interaction").inc(sum(event.exposure for event in events))
        folded_items = [item for event in events if (item := items.get(event.item_id)) is not None]
        undescribed = sum(item.picture is not None and not item.described for item in folded_items)
        self._metrics.folded_events_missing.labels("description").inc(undescribed)
        if liked.items:
            # A lost count does no harm.
            with self._losing_counts():
                await self._store.cooccurrence.record(*liked)
        return True

    async def _newly_liked(self, claim: SummaryClaim, events: Sequence[Event]) -> Liked:
        """The items that `events` liked and that were not counted for the user before."""
        liked = [event.item_id for event in events if self._likes(event) and not event.refolded]
        new = votes.uncounted(claim.votes, liked)
        if not new:
            return _NOTHING_LIKED
        with self._losing_counts():
            record, known = votes.last(claim.votes), [event.item_id for event in claim.recents]
            before = votes.named(record, known)
            if None in before:
                before = votes.named(record, [*known, *await self._store.users.seen(claim.key)])
            # Read after the fold: an item may have been deleted while the model was writing.
            to_come, deleted = await self._store.items.absent([*new, *(item for item in before if item is not None)])
            counted = [item for item in new if item not in deleted]
            return Liked(counted, [None if item in deleted else item for item in before], to_come)
        return _NOTHING_LIKED

    @contextmanager
    def _losing_counts(self) -> Iterator[None]:
        """Continue without the counts if Redis fails."""
        try:
            yield
        except StateUnavailable as error:
            self._metrics.dependency_failures.labels("cooccurrence").inc()
            log.warning("counts_lost", error=error.detail)

    def _likes(self, event: Event) -> bool:
        return self._signals(event.type, event.value) == "positive"
