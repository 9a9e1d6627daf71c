"""Where candidates come from: the caller, or what the user's neighbours in taste and everybody else took."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b

import orjson

from model_store.signals import Signals
from service.recommend.schemas import CandidateIn, RecommendIn, Skipped
from service.settings import RecommendSettings
from service.state.records import Item, UserState
from service.state.store import Store


@dataclass(frozen=True, slots=True)
class Candidate:
    """An item up for ranking. `revision` changes with everything that the ranker sees of it."""

    item: Item
    revision: int


@dataclass(frozen=True, slots=True)
class Retrieved:
    """Distinct candidates, the items of the user's recents by id, and the candidates that were left out."""

    candidates: list[Candidate]
    recents: Mapping[str, Item]
    skipped: list[Skipped]


async def retrieve(
    ask: RecommendIn, state: UserState, store: Store, settings: RecommendSettings, signals: Signals
) -> Retrieved:
    """Look up the caller's candidates, or find some.

    Raises:
        StateUnavailable: the store can't be read.
    """
    shown = {event.item_id for event in state.recents[-settings.prompt_recents :]}
    if ask.candidates is None:
        wanted = await _find(ask, state, store, settings, signals)
        items = await store.items.get_many([*wanted, *(shown - wanted.keys())])
        found = [Candidate(items[item_id], revision(items[item_id])) for item_id in wanted if item_id in items]
        return Retrieved(found, items, [])
    given: dict[str, CandidateIn] = {}
    skipped: list[Skipped] = []
    for candidate in ask.candidates:
        if candidate.item_id in given:
            skipped.append(Skipped(candidate.item_id, "duplicate"))
        else:
            given[candidate.item_id] = candidate
    items = await store.items.get_many([*given, *(shown - given.keys())])
    candidates = []
    for item_id, candidate in given.items():
        if merged := _merge(candidate, items.get(item_id)):
            candidates.append(merged)
        else:
            skipped.append(Skipped(item_id, "unknown_item"))
    return Retrieved(candidates, items, skipped)


def evidence_items(state: UserState, signals: Signals) -> list[str]:
    """The distinct items among the recents that speak for what is like them, newest last."""
    return list(
        dict.fromkeys(event.item_id for event in state.recents if signals(event.type, event.value) == "positive")
    )


async def _find(
    ask: RecommendIn, state: UserState, store: Store, settings: RecommendSettings, signals: Signals
) -> dict[str, None]:
    """Ids in the order of their sources: neighbours, popular items, and without either the catalogue's first."""
    seen = state.seen if ask.exclude_seen else frozenset()
    count = max(settings.retrieve, ask.k)
    neighbours, popular = await asyncio.gather(
        store.evidence.neighbours(evidence_items(state, signals), count, seen), store.evidence.popular(count, seen)
    )
    found = dict.fromkeys([*neighbours, *popular])
    if len(found) < ask.k:
        # So many that enough are left when all that were seen or found are among them.
        page, _ = await store.items.page(count + len(seen), None)
        found |= dict.fromkeys(item.item_id for item in page if item.item_id not in seen)
    return dict.fromkeys(list(found)[:count])


def revision(item: Item | None) -> int:
    """A number that changes with all that a prompt shows of the catalogue's item; 0 for one that is not there."""
    # A summary that was written since adds to it without a new revision of the item.
    return 0 if item is None else 2 * item.revision + item.described


def _merge(given: CandidateIn, known: Item | None) -> Candidate | None:
    """The catalogue's item with the caller's words; None if neither says what it is."""
    words = given.model_fields_set - {"item_id"}
    if known is not None and not words:
        return Candidate(known, revision(known))
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
    content = (item.title, item.description, item.genres, item.tags, item.summary, item.picture)
    digest = blake2b(orjson.dumps(content), digest_size=7)
    return -int.from_bytes(digest.digest())
