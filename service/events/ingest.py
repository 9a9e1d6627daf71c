"""Stores events and counts the outcomes."""

import time
from collections.abc import Collection, Sequence

from service import tracing
from service.events.batch import Batch
from service.events.unknown_items import UnknownItems
from service.metrics import Metrics
from service.metrics.rollout import SLOT_NAMES
from service.recommend.receipts import read
from service.recommend.rollout import Rollout
from service.state.events import Events
from service.state.records import Accepted, Event


class EventIngest:
    """Stores batches of events.

    Args:
        rollout: the versions that rank; events mean what they mean to the one in production.
        tenant: whose events they are.
    """

    def __init__(
        self,
        events: Events,
        unknown_items: UnknownItems,
        rollout: Rollout,
        metrics: Metrics,
        tenant: str,
    ) -> None:
        self._events = events
        self._unknown_items = unknown_items
        self._rollout = rollout
        self._metrics = metrics
        self._tenant = tenant

    async def accept(self, batch: Batch, received_ms: int, arrived_s: float) -> list[Accepted]:
        """Store the events of `batch`, and count its events and its rejections.

        Args:
            received_ms: see `Events.accept`.
            arrived_s: when the request or its chunk arrived, by `time.perf_counter`.

        Returns:
            The outcome of each event, in the order of `batch.events`.

        Raises:
            TastestreamError: as `Events.accept` does.
        """
        outcomes: list[Accepted] = []
        if batch.events:
            types = {event.type for event in batch.events}
            with tracing.span("accept"):
                exposures, trace = self._rollout.signals.exposures(types), tracing.to_store()
                outcomes = await self._events.accept(batch.events, received_ms, exposures, trace)
            if "accepted" in outcomes:
                self._metrics.event_to_recents.observe(time.perf_counter() - arrived_s)
                self._metrics.last_event_s = time.time()
            self._count(batch.events, outcomes, types, exposures)
        if batch.rejected:
            self._metrics.events.labels(self._tenant, "rejected").inc(len(batch.rejected))
        return outcomes

    async def unknown(self, batch: Batch) -> frozenset[str] | None:
        """The items of the batch that are not in the catalogue; None if the store does not answer."""
        return await self._unknown_items.among(batch.events)

    def _count(
        self, events: Sequence[Event], outcomes: Sequence[Accepted], types: set[str], exposures: Collection[str]
    ) -> None:
        for outcome in set(outcomes):
            self._metrics.events.labels(self._tenant, outcome).inc(outcomes.count(outcome))
        self._unknown_items.see(events, outcomes)
        led = [place for place, event in enumerate(events) if event.recommendation_id is not None]
        if led:
            accepted = [events[place] for place in led if outcomes[place] == "accepted"]
            # What was only shown has not led to anything yet.
            self._count_led([event for event in accepted if event.type not in exposures])
        signals = self._rollout.signals
        if not all(map(signals.knows, types)):
            unknown = {one for one in types if not signals.knows(one)}
            pairs = zip(events, outcomes, strict=True)
            number = sum(outcome == "accepted" and event.type in unknown for event, outcome in pairs)
            self._metrics.unknown_types.inc(number)

    def _count_led(self, events: Sequence[Event]) -> None:
        """Count events that name the recommendation that led to them."""
        known, signals, metrics = self._rollout.known, self._rollout.signals, self._metrics
        for event in events:
            receipt, signal = read(event.recommendation_id or "", known), signals(event.type, event.value)
            metrics.outcomes.labels(receipt.served_by, receipt.model, signal).inc()
            metrics.version_outcomes.labels(receipt.model, receipt.policy, signal).inc()
            if receipt.slots:
                slot = SLOT_NAMES[receipt.slot(event.item_id) - 1]
                metrics.slot_outcomes.labels(receipt.model, slot, signal).inc()
