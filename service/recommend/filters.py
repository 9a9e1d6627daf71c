"""Decide which candidates may be ranked. No I/O."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from service.recommend.candidates import Candidate
from service.recommend.conditions import Condition, equal, required
from service.recommend.schemas import Filters, Skipped, SkipReason
from service.state.keys import Field
from service.state.records import Item


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Ids of items that are not recommended, whatever they are."""

    seen: Collection[str] = ()
    excluded: Collection[str] = ()

    def reason(self, item_id: str) -> SkipReason | None:
        """Why the item is left out; None if it is not."""
        if item_id in self.excluded:
            return "excluded"
        return "seen" if item_id in self.seen else None

    def ids(self) -> set[str]:
        """All ids."""
        return {*self.seen, *self.excluded}


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """What an item must have: what `filters` name, and what the expression says."""

    filters: Filters | None = None
    condition: Condition | None = None

    def passes(self, item: Item) -> bool:
        return (self.filters is None or passes(item, self.filters)) and (
            self.condition is None or self.condition.matches(item)
        )

    def terms(self, field: Field) -> Sequence[str]:
        """Genres or tags of which every item that passes has at least one; empty if it need not have any."""
        if self.filters is not None and (named := getattr(self.filters, field)):
            return list(named)
        return sorted((required(self.condition, field) if self.condition else None) or ())


def keep(
    candidates: Sequence[Candidate], left_out: LeftOut, wanted: ItemFilter | None
) -> tuple[list[Candidate], list[Skipped]]:
    """The candidates that are not left out and pass the filter, and the skipped ones."""
    kept: list[Candidate] = []
    skipped: list[Skipped] = []
    for candidate in candidates:
        item = candidate.item
        if reason := left_out.reason(item.item_id):
            skipped.append(Skipped(item.item_id, reason))
        elif wanted is not None and not wanted.passes(item):
            skipped.append(Skipped(item.item_id, "filtered"))
        else:
            kept.append(candidate)
    return kept, skipped


def passes(item: Item, filters: Filters) -> bool:
    """Whether the item has one of the genres, one of the tags and each attribute that the filters name."""
    if filters.genres and not set(filters.genres) & set(item.genres):
        return False
    if filters.tags and not set(filters.tags) & set(item.tags):
        return False
    attributes = item.attributes or {}
    return all(name in attributes and _matches(attributes[name], wanted) for name, wanted in filters.attributes.items())


def _matches(value: Any, wanted: Any) -> bool:
    """Whether a value, or one of its elements, equals one of the wanted values."""
    values = value if isinstance(value, list) else [value]
    choices = wanted if isinstance(wanted, list) else [wanted]
    return any(equal(one, choice) for one in values for choice in choices)
