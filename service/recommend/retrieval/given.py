"""The candidates that the caller gives."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from service.recommend.candidates import Candidate, catalogue_revision, content_revision
from service.recommend.schemas import CandidateIn, Skipped
from service.state.records import Item


def given_candidates(asked: Iterable[CandidateIn], items: Mapping[str, Item]) -> tuple[list[Candidate], list[Skipped]]:
    """The distinct candidates that are in the catalogue or have a title, and those that were skipped.

    Args:
        items: the candidates that are in the catalogue, by id.
    """
    distinct: dict[str, CandidateIn] = {}
    skipped: list[Skipped] = []
    for candidate in asked:
        if candidate.item_id in distinct:
            skipped.append(Skipped(candidate.item_id, "duplicate"))
        else:
            distinct[candidate.item_id] = candidate
    candidates = []
    for item_id, candidate in distinct.items():
        if merged := _merge(candidate, items.get(item_id)):
            candidates.append(merged)
        else:
            skipped.append(Skipped(item_id, "unknown_item"))
    return candidates, skipped


def _merge(given: CandidateIn, known: Item | None) -> Candidate | None:
    """The catalogue's item with the caller's text, or None if neither has a title."""
    words = given.model_fields_set - {"item_id"}
    if known is not None and not words:
        return Candidate(known, catalogue_revision(known))
    if known is None and given.title is None:
        return None
    item = known or Item(given.item_id, "")
    item = replace(
        item,
        title=given.title or item.title,
        description=given.description if "description" in words else item.description,
        genres=tuple(given.genres) if "genres" in words else item.genres,
        tags=tuple(given.tags) if "tags" in words else item.tags,
        attributes=given.attributes if "attributes" in words else item.attributes,
    )
    return Candidate(item, content_revision(item))
