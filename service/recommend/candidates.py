"""Candidates, also those of the caller, and the revisions that their cached scores belong to. No I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b

import orjson

from service.recommend.schemas import CandidateIn, Skipped, SourceName
from service.state.records import Item


@dataclass(frozen=True, slots=True)
class Candidate:
    """An item to rank. `revision` changes with everything that the ranker sees of it."""

    item: Item
    revision: int
    source: SourceName = "given"


def catalogue_revision(item: Item | None) -> int:
    """A number that changes with everything a prompt shows of a catalogue item; 0 if there is no such item."""
    # The first summary and the first soft tokens change the prompt, but not the revision of the item.
    return 0 if item is None else 4 * item.revision + 2 * item.described + bool(item.encoded)


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
    return Candidate(item, _content_revision(item))


def _content_revision(item: Item) -> int:
    """A number that changes with everything a prompt shows of an item that the caller changed."""
    content = (item.title, item.description, item.genres, item.tags, item.summary, item.picture, item.encoded)
    digest = blake2b(orjson.dumps(content), digest_size=7)
    return -int.from_bytes(digest.digest())
