"""Collect candidates: take ids from the stages in turn and check them until there are enough. No I/O."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from model_store.retrieval.merge import in_turns, supply
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

    Args:
        stages: merged by their quotas, see `in_turns`.
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
    _looked: bool = False
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

    def look(self, *, late: bool = False) -> Sequence[str]:
        """The ids whose items are to be read next.

        Args:
            late: whether there is no more time to wait for stages. Only if nothing was looked at before, there are some
                ids, of the stages that have named some.
        """
        room = self.count - len(self.found)
        size = min(max(room + room // 8, self._size), LOOKED_AT_ONCE, self.most) if room > 0 else 0
        if late and self._looked:
            size = 0
        self._looking = {item: stage.name for item, stage in islice(in_turns(self.stages, self._fresh, not late), size)}
        if self._looking:
            self._looked = True
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
        named = 0
        for stage in self.stages:
            needed = stage.quota or named < wanted
            if needed and not stage.done and (not stage.last_resort or expected < self.enough):
                return stage
            named += supply(stage)
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

    def _fresh(self, item_id: str) -> bool:
        """Whether an item is to be looked at; it never is again."""
        if item_id in self._met:
            return False
        self._met.add(item_id)
        if reason := self.left_out.reason(item_id):
            self.rejected[reason] += 1
            return False
        return True
