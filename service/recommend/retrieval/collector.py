"""Collect candidates: take ids from the stages in turn and check them until there are enough. No I/O."""

from collections.abc import Collection, Mapping, Sequence

from service.recommend.candidates import Candidate, catalogue_revision
from service.recommend.filters import passes
from service.recommend.retrieval.stage import Stage
from service.recommend.schemas import Filters, SourceName
from service.state.records import Item

LOOKED_AT_ONCE = 500
"""Items read in one round trip and parsed without yielding to other requests."""


class Collector:
    """Fills `count` places with items that were not seen and pass the filters.

    Every stage is emptied before the next one is used, so that the order of the stages is that of their preference.

    Args:
        stages: in their order.
        count: candidates to collect.
        enough: with so many, a stage of last resort is not asked.
        seen: ids that are left out.
        filters: what an item must have.
        most: items looked at in all.

    Attributes:
        found: the candidates so far, by id.
        filtered: the number of items that did not pass the filters.
        skipped_seen: the number of ids that the user had seen.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        *,
        count: int,
        enough: int,
        seen: Collection[str],
        filters: Filters | None,
        most: int,
    ) -> None:
        self.found: dict[str, Candidate] = {}
        self.filtered = 0
        self.skipped_seen = 0
        self._stages = stages
        self._count = count
        self._enough = enough
        self._seen = seen
        self._filters = filters
        self._most = most
        self._places = [stage.places for stage in stages]
        self._looking: dict[str, SourceName] = {}
        self._met: set[str] = set()
        self._next = 4 * count if filters else 0

    @property
    def short(self) -> bool:
        """Fewer than `enough` were found."""
        return len(self.found) < self._enough

    @property
    def at_bound(self) -> bool:
        """Whether the bound on the items looked at ended the search."""
        return self._most <= 0

    def look(self) -> Sequence[str]:
        """The ids whose items are to be read next."""
        room = self._count - len(self.found)
        size = min(max(room + room // 8, self._next), LOOKED_AT_ONCE, self._most) if room > 0 else 0
        self._looking = {}
        for number, stage in enumerate(self._stages):
            while stage.ids and len(self._looking) < size:
                self._meet(number, stage.ids.popleft())
            # Ids that this stage names later come before those of the next stages.
            if not stage.done:
                break
        if self._looking:
            self._next = 2 * size
            self._most -= len(self._looking)
        return list(self._looking)

    def next_stage(self) -> Stage | None:
        """The stage to ask for more ids, or None."""
        # With filters, it is unknown how many of the items being read will pass.
        expected = len(self.found) + (0 if self._filters else len(self._looking))
        wanted = LOOKED_AT_ONCE if self._filters else self._count - expected
        if expected >= self._count or self._most <= 0:
            return None
        for stage in self._stages:
            if len(stage.ids) >= wanted:
                return None
            if not stage.done and (not stage.last_resort or expected < self._enough):
                return stage
        return None

    def take(self, items: Mapping[str, Item]) -> None:
        """Keep the items that pass. `items` holds those of the last `look` that are in the catalogue."""
        for item_id, source in self._looking.items():
            item = items.get(item_id)
            if item is None:
                continue
            if self._filters and not passes(item, self._filters):
                self.filtered += 1
            elif len(self.found) < self._count:
                self.found[item_id] = Candidate(item, catalogue_revision(item), source)
        self._looking = {}

    def _meet(self, number: int, item_id: str) -> None:
        places = self._places[number]
        if item_id in self._met or places == 0:
            return
        self._met.add(item_id)
        if item_id in self._seen:
            self.skipped_seen += 1
            return
        self._looking[item_id] = self._stages[number].name
        if places is not None:
            self._places[number] = places - 1
