"""Candidates, and the revisions that their cached scores belong to. No I/O."""

from dataclasses import dataclass
from hashlib import blake2b

import orjson

from service.recommend.schemas import SourceName
from service.state.records import Item


@dataclass(frozen=True, slots=True)
class Candidate:
    """An item to rank. `revision` changes with everything that the ranker sees of it."""

    item: Item
    revision: int
    source: SourceName = "given"


def catalogue_revision(item: Item | None) -> int:
    """A number that changes with everything a prompt shows of a catalogue item; 0 if there is no such item."""
    # Writing the item summary changes the prompt, but not the revision of the item.
    return 0 if item is None else 2 * item.revision + item.described


def content_revision(item: Item) -> int:
    """A number that changes with everything a prompt shows of an item that the caller changed."""
    content = (item.title, item.description, item.genres, item.tags, item.summary, item.picture)
    digest = blake2b(orjson.dumps(content), digest_size=7)
    return -int.from_bytes(digest.digest())
