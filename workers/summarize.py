"""Folding: pending events, block by block, into the living summary (MLLM-MSR, stage 2)."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from model_store.signals import BUILT_IN, Signals
from model_store.views import InteractionView
from service.errors import StateUnavailable
from service.logs import get_logger
from service.metrics import Metrics
from service.settings import StateSettings
from service.state import votes
from service.state.leases import DeadLettered
from service.state.records import Event, Item, SummaryClaim
from service.state.store import Store
from service.state.views import interaction_views
from workers.backoff import Retry
from workers.blocks import blocks
from workers.job import Job, Outcome, ServerUnavailable, WorkFailed, committed
from workers.model_calls import ModelRejected, answer_of

log = get_logger(__name__)


class Summarizer(Protocol):
    """What folding asks of an engine; see `model_store.engine.Engine`."""

    @property
    def id(self) -> str: ...

    async def summarize(self, summary: str, block: Sequence[InteractionView], *, attempt: int = 0) -> str: ...

    async def healthy(self) -> bool: ...


class Liked(NamedTuple):
    """Items that a user likes for the first time, and what was counted before; of both, what is not there `to_come`."""

    items: Sequence[str]
    before: Sequence[str | None]
    to_come: frozenset[str]


NOTHING_LIKED = Liked((), (), frozenset())


class SummarizeJob(Job[SummaryClaim]):
    """Rewrites users' summaries.

    Args:
        prompt: names the prompts that the summaries are written with.
        max_concurrent_calls: calls to the model at the same time; claims beyond it read their items and wait.
        stopping: true once the worker drains: a claim of many blocks then ends after the running one.
        signals: what the types of events mean.
    """

    def __init__(
        self,
        store: Store,
        engine: Summarizer,
        prompt: str,
        settings: StateSettings,
        retry: Retry,
        metrics: Metrics,
        max_concurrent_calls: int,
        stopping: Callable[[], bool] = lambda: False,
        signals: Signals = BUILT_IN,
    ) -> None:
        super().__init__(store.summaries, retry, metrics)
        self._store = store
        self._engine = engine
        self._prompt = prompt
        self._settings = settings
        self._calls = asyncio.Semaphore(max_concurrent_calls)
        self._stopping = stopping
        self._signals = signals
        self._committing: set[int] = set()

    async def extend(self, claims: Sequence[SummaryClaim]) -> list[bool]:
        """A claim that is being committed has nothing to lose any more: its commit ends the lease itself."""
        held = await super().extend(claims)
        return [holds or claim.token in self._committing for holds, claim in zip(held, claims, strict=True)]

    async def work(self, claim: SummaryClaim) -> Outcome:
        """Fold the claim's events and commit.

        When a later block fails, the earlier ones are committed, and the failing one is the first
        of the user's next claim.
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
        """The first block is the one that failed: those before it would have been committed."""
        return await self._store.summaries.dead_letter(claim, failure.reason, self._plan(claim)[0])

    async def _fold(self, claim: SummaryClaim, items: Mapping[str, Item]) -> tuple[str, int, Exception | None]:
        """The new text, how many events are in it, and what kept the others out."""
        text, folded = claim.base.text if claim.base else "", 0
        for count in self._plan(claim):
            if folded and self._stopping():
                break
            try:
                attempt = 0 if folded else claim.attempts
                text = await self._step(text, claim.pending[folded : folded + count], items, attempt)
            except (ModelRejected, ServerUnavailable) as failure:
                return text, folded, failure
            folded += count
        return text, folded, None

    def _plan(self, claim: SummaryClaim) -> list[int]:
        """After a failure only blocks of the usual size, so that few events are dead-lettered with a bad one."""
        state = self._settings
        pending = len(claim.pending)
        if claim.attempts:
            pending = min(pending, state.block_size * state.claim_blocks)
        return blocks(pending, state.block_size, state.catch_up_block, state.claim_blocks)

    async def _step(self, summary: str, block: Sequence[Event], items: Mapping[str, Item], attempt: int) -> str:
        """One recurrent step: summary[n] = LLM(summary[n-1], block), the block by event time.

        A model that sees items without text invents a taste: it gets only those in the catalogue,
        and is not asked when there are none.
        """
        telling = [event for event in block if event.item_id in items and not event.exposure]
        if not telling:
            return summary
        views = interaction_views(sorted(telling, key=lambda event: event.timestamp_ms), items)
        async with self._calls:
            asking = self._engine.summarize(summary, views, attempt=attempt)
            return await answer_of("summarize", asking, self._engine, self._metrics)

    async def _commit(self, claim: SummaryClaim, text: str, folded: int, items: Mapping[str, Item]) -> bool:
        events = claim.pending[:folded]
        liked = await self._newly_liked(claim, events)
        if not await self._store.summaries.commit(claim, text, self._engine.id, self._prompt, folded, liked.items):
            return False
        self._metrics.folded_events.inc(folded)
        missing = sum(event.item_id not in items and not event.exposure for event in events)
        self._metrics.folded_events_missing.labels("item").inc(missing)
        self._metrics.folded_events_missing.labels("interaction").inc(sum(event.exposure for event in events))
        undescribed = sum(_undescribed(items, event) for event in events)
        self._metrics.folded_events_missing.labels("description").inc(undescribed)
        await self._record(liked)
        return True

    async def _newly_liked(self, claim: SummaryClaim, events: Sequence[Event]) -> Liked:
        """The items that `events` liked and that were not counted for the user before."""
        liked = [event.item_id for event in events if self._likes(event) and not event.refolded]
        new = votes.uncounted(claim.votes, liked)
        if not new:
            return NOTHING_LIKED
        with self._losing_counts():
            record, known = votes.last(claim.votes), [event.item_id for event in claim.recents]
            before = votes.named(record, known)
            if None in before:
                before = votes.named(record, [*known, *await self._store.users.seen(claim.key)])
            # Asked now and not before the fold: an item may have been deleted while the model wrote.
            to_come, deleted = await self._store.items.absent([*new, *(item for item in before if item is not None)])
            counted = [item for item in new if item not in deleted]
            return Liked(counted, [None if item in deleted else item for item in before], to_come)
        return NOTHING_LIKED

    async def _record(self, liked: Liked) -> None:
        """Count what is newly liked, together with what was counted before; losing a count harms nobody."""
        if liked.items:
            with self._losing_counts():
                await self._store.cooccurrence.record(liked.items, liked.before, liked.to_come)

    @contextmanager
    def _losing_counts(self) -> Iterator[None]:
        try:
            yield
        except StateUnavailable as error:
            self._metrics.dependency_failures.labels("cooccurrence").inc()
            log.warning("counts_lost", error=error.detail)

    def _likes(self, event: Event) -> bool:
        return self._signals(event.type, event.value) == "positive"


def _undescribed(items: Mapping[str, Item], event: Event) -> bool:
    item = items.get(event.item_id)
    return item is not None and item.picture is not None and not item.described
