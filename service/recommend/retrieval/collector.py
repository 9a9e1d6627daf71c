"""Collect candidates: take ids from the stages in turn and check them until there are enough. No I/O."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from service.recommend.candidates import Candidate, catalogue_revision
from service.recommend.filters import ItemFilter, LeftOut
from service.recommend.retrieval.stages import Stage
from service.recommend.schemas import SkipReason, SourceName
from service.state.records import Item

LOOKED_AT_ONCE = 500
"""Items read in one round trip and parsed without yielding to other requests."""


@dataclass(slots=True)
class Collector:
    """Fills `count` places with items that are not left out and pass the filter.

    Every stage is emptied or has used its places before the next one is used, so the order of the stages is that of
    their preference.

    Args:
        stages: in their order.
        count: candidates to collect.
        enough: with so many, a stage of last resort is not asked.
        left_out: ids that are passed over.
        wanted: what an item must have.
        most: how many more items may be looked at.

    Attributes:
        found: the candidates so far, by id.
        rejected: how many items were passed over for which reason.
    """

    stages: Sequence[Stage]
    count: int
    enough: int
    left_out: LeftOut
    wanted: ItemFilter | None
    most: int
    found: dict[str, Candidate] = field(default_factory=dict)
    rejected: Counter[SkipReason] = field(default_factory=Counter)
    _looking: dict[str, SourceName] = field(default_factory=dict)
    _met: set[str] = field(default_factory=set)
    _size: int = field(init=False)

    def __post_init__(self) -> None:
        self._size = 4 * self.count if self.wanted else 0

    @property
    def short(self) -> bool:
        """Fewer than `enough` were found."""
        return len(self.found) < self.enough

    @property
    def at_bound(self) -> bool:
        """Whether the bound on the items looked at ended the search."""
        return self.most <= 0

    def look(self) -> Sequence[str]:
        """The ids whose items are to be read next."""
        room = self.count - len(self.found)
        size = min(max(room + room // 8, self._size), LOOKED_AT_ONCE, self.most) if room > 0 else 0
        self._looking = {}
        for stage in self.stages:
            while stage.ids and len(self._looking) < size:
                self._meet(stage, stage.ids.popleft())
            # Ids that this stage names later come before those of the next stages.
            if not stage.done:
                break
        if self._looking:
            self._size = 2 * size
            self.most -= len(self._looking)
        return list(self._looking)

    def next_stage(self) -> Stage | None:
        """The stage to ask for more ids, or None."""
        # With a filter, it is unknown how many of the items being read will pass.
        expected = len(self.found) + (0 if self.wanted else len(self._looking))
        wanted = LOOKED_AT_ONCE if self.wanted else self.count - expected
        if expected >= self.count or self.most <= 0:
            return None
        for stage in self.stages:
            if len(stage.ids) >= wanted:
                return None
            if not stage.done and (not stage.last_resort or expected < self.enough):
                return stage
        return None

    def take(self, items: Mapping[str, Item]) -> None:
        """Keep the items that pass. `items` holds those of the last `look` that are in the catalogue."""
        for item_id, source in self._looking.items():
            item = items.get(item_id)
            if item is None:
                continue
            if self.wanted and not self.wanted.passes(item):
                self.rejected["filtered"] += 1
            elif len(self.found) < self.count:
                self.found[item_id] = Candidate(item, catalogue_revision(item), source)
        self._looking = {}

    def _meet(self, stage: Stage, item_id: str) -> None:
        if item_id in self._met:
            return
        if stage.places == 0:
            stage.spare.append(item_id)
            return
        self._met.add(item_id)
        if reason := self.left_out.reason(item_id):
            self.rejected[reason] += 1
            return
        self._looking[item_id] = stage.name
        if stage.places is not None:
            stage.places -= 1
