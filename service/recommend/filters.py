"""Decide which candidates may be ranked. No I/O."""

from collections.abc import Collection, Sequence
from typing import Any

from service.recommend.candidates import Candidate
from service.recommend.schemas import Filters, Skipped
from service.state.records import Item


def keep(
    candidates: Sequence[Candidate], seen: Collection[str], filters: Filters | None
) -> tuple[list[Candidate], list[Skipped]]:
    """The candidates that were not seen and pass the filters, and the skipped ones."""
    kept: list[Candidate] = []
    skipped: list[Skipped] = []
    for candidate in candidates:
        item = candidate.item
        if item.item_id in seen:
            skipped.append(Skipped(item.item_id, "seen"))
        elif filters is not None and not passes(item, filters):
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
    """Whether a value, or one of its elements, equals one of the wanted values. `true` is not 1."""
    values = value if isinstance(value, list) else [value]
    choices = wanted if isinstance(wanted, list) else [wanted]
    return any(
        one == choice and isinstance(one, bool) == isinstance(choice, bool) for one in values for choice in choices
    )
