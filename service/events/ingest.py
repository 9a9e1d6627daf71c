"""Stores events and counts the outcomes."""

import time
from collections.abc import Collection, Sequence

from model_store.signals import Signals
from service import tracing
from service.events.batch import Batch
from service.events.unknown_items import UnknownItems
from service.metrics import Metrics
from service.recommend.receipts import read
from service.state.events import Events
from service.state.records import Accepted, Event


class EventIngest:
    """Stores batches of events.

    Args:
        signals: the meanings of event types.
        model: the id of the model version that ranks; None if there is none.
        tenant: whose events they are.
    """

    def __init__(
        self,
        events: Events,
        unknown_items: UnknownItems,
        signals: Signals,
        metrics: Metrics,
        model: str | None,
        tenant: str,
    ) -> None:
        self._events = events
        self._unknown_items = unknown_items
        self._signals = signals
        self._metrics = metrics
        self._model = model
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
                exposures, trace = self._signals.exposures(types), tracing.to_store()
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
        if not all(map(self._signals.knows, types)):
            unknown = {one for one in types if not self._signals.knows(one)}
            pairs = zip(events, outcomes, strict=True)
            number = sum(outcome == "accepted" and event.type in unknown for event, outcome in pairs)
            self._metrics.unknown_types.inc(number)

    def _count_led(self, events: Sequence[Event]) -> None:
        """Count events that name the recommendation that led to them."""
        for event in events:
            receipt = read(event.recommendation_id or "", self._model)
            self._metrics.outcomes.labels(*receipt, self._signals(event.type, event.value)).inc()
