"""Counts accepted events whose item is not in the catalogue, often a sign that a sink sends other item ids."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from prometheus_client import Counter as Metric

from service.errors import StateUnavailable
from service.state.items import Items
from service.state.records import Accepted, Event

CHECK_INTERVAL_S = 1.0
MAX_WAITING = 500
FORGET_AFTER_CHECKS = 60


class UnknownItems:
    """Counts accepted events whose item is not in the catalogue, after their requests are answered.

    A look-up costs as much as accepting an event. Therefore the items of at most `MAX_WAITING` events are looked up
    together about once a second, as a sample of all events since the last check, and known items are cached for a
    minute. With more events than that, the count is an estimate.
    """

    def __init__(self, items: Items, counted: Metric) -> None:
        self._items = items
        self._counted = counted
        self._waiting: list[str] = []
        self._accepted = 0
        self._known: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def see(self, events: Sequence[Event], outcomes: Sequence[Accepted]) -> None:
        """Keep the items of the accepted events for the next check."""
        self._accepted += outcomes.count("accepted")
        room = MAX_WAITING - len(self._waiting)
        if room <= 0:
            return
        pairs = zip(events[:room], outcomes[:room], strict=True)
        self._waiting += [event.item_id for event, outcome in pairs if outcome == "accepted"]
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def among(self, events: Sequence[Event]) -> frozenset[str] | None:
        """The items of these events that are not in the catalogue; None if the store does not answer."""
        ids = list({event.item_id for event in events})
        with suppress(StateUnavailable):
            return frozenset(ids) - await self._items.known(ids)
        return None

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        checks = 0
        while self._waiting:
            await asyncio.sleep(CHECK_INTERVAL_S)
            checks += 1
            if checks % FORGET_AFTER_CHECKS == 0:
                self._known.clear()
            await self._check()
        self._known.clear()

    async def _check(self) -> None:
        waiting, self._waiting = Counter(self._waiting), []
        weight, self._accepted = self._accepted / max(1, waiting.total()), 0
        ids = [item for item in waiting if item not in self._known]
        with suppress(StateUnavailable):
            found = await self._items.known(ids)
            self._known |= found
            self._counted.inc(weight * sum(waiting[item] for item in ids if item not in found))
