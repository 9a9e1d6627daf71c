"""Which items of accepted events the catalogue lacks: usually a sink that sends other ids than the catalogue has."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from prometheus_client import Counter as Metric

from service.errors import StateUnavailable
from service.state.items import Items
from service.state.records import Accepted, Event

LOOK_EVERY_S = 1.0
MOST_WAITING = 500
MOST_KNOWN = 100_000
FORGET_AFTER_LOOKS = 60
IDS_PER_CALL = 500


class UnknownItems:
    """Counts, after the answers are out, what was accepted of items that the catalogue lacks.

    Events cost no round trip: about once a second the items of `MOST_WAITING` events are looked up together, and stand
    for all accepted since: a look-up costs as much as accepting an event. Items that were found are remembered for a
    minute. So the count is an estimate where more events come.
    """

    def __init__(self, items: Items, counted: Metric) -> None:
        self._items = items
        self._counted = counted
        self._waiting: list[str] = []
        self._accepted = 0
        self._known: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def see(self, events: Sequence[Event], outcomes: Sequence[Accepted]) -> None:
        """Remember the items of the accepted events for the next look."""
        self._accepted += outcomes.count("accepted")
        room = MOST_WAITING - len(self._waiting)
        if room <= 0:
            return
        pairs = zip(events[:room], outcomes[:room], strict=True)
        self._waiting += [event.item_id for event, outcome in pairs if outcome == "accepted"]
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def among(self, events: Sequence[Event]) -> frozenset[str] | None:
        """The items of these events that the catalogue lacks; None while the store can't say."""
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
        looks = 0
        while self._waiting:
            await asyncio.sleep(LOOK_EVERY_S)
            looks += 1
            if looks % FORGET_AFTER_LOOKS == 0 or len(self._known) > MOST_KNOWN:
                self._known.clear()
            await self._look()
        self._known.clear()

    async def _look(self) -> None:
        waiting, self._waiting = Counter(self._waiting), []
        weight, self._accepted = self._accepted / max(1, waiting.total()), 0
        ids = [item for item in waiting if item not in self._known]
        with suppress(StateUnavailable):
            for start in range(0, len(ids), IDS_PER_CALL):
                asked = ids[start : start + IDS_PER_CALL]
                found = await self._items.known(asked)
                self._known |= found
                self._counted.inc(weight * sum(waiting[item] for item in asked if item not in found))
