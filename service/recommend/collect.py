"""Collecting candidates: what the sources name is held against catalogue, filters and seen items until it is enough."""

from collections.abc import Collection, Mapping, Sequence

from service.recommend.filters import passes
from service.recommend.schemas import Filters, SourceName
from service.recommend.sources import Source
from service.state.records import Item

LOOKED_AT_ONCE = 500
"""Items whose words are read in one round trip, and parsed before other requests have their turn."""


class Collector:
    """Fills `count` places from `sources`, in their order.

    Args:
        enough: with so many, the last source, the whole catalogue, is not asked.
        seen: ids that are left out.
        most: items looked at in all.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        count: int,
        enough: int,
        seen: Collection[str],
        filters: Filters | None,
        most: int,
    ) -> None:
        self.found: dict[str, tuple[Item, SourceName]] = {}
        self.filtered = 0
        self.skipped_seen = 0
        self._sources = sources
        self._count = count
        self._enough = enough
        self._seen = seen
        self._filters = filters
        self._most = most
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
        for source in self._sources:
            while source.ids and len(self._looking) < size:
                self._meet(source.ids.popleft(), source.name)
            # What is named later by this one comes before what those after it name.
            if not source.done:
                break
        if self._looking:
            self._next = 2 * size
            self._most -= len(self._looking)
        return list(self._looking)

    def hungry(self) -> Source | None:
        """The source to be asked for more, if one is."""
        # With filters, nobody knows how many of those that are looked at will pass.
        expected = len(self.found) + (0 if self._filters else len(self._looking))
        wanted = LOOKED_AT_ONCE if self._filters else self._count - expected
        if expected >= self._count or self._most <= 0:
            return None
        for source in self._sources[:-1] if expected >= self._enough else self._sources:
            if len(source.ids) >= wanted:
                return None
            if not source.done:
                return source
        return None

    def take(self, items: Mapping[str, Item]) -> None:
        """Keep what passes of the items that were looked at."""
        for item_id, source in self._looking.items():
            item = items.get(item_id)
            if item is None:
                continue
            if self._filters and not passes(item, self._filters):
                self.filtered += 1
            elif len(self.found) < self._count:
                self.found[item_id] = (item, source)
        self._looking = {}

    def _meet(self, item_id: str, source: SourceName) -> None:
        if item_id in self._met:
            return
        self._met.add(item_id)
        if item_id in self._seen:
            self.skipped_seen += 1
        else:
            self._looking[item_id] = source
