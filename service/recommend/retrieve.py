"""Candidates with all that the store knows of them: those of the caller, or those that are found for the user."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b

import orjson

from model_store.signals import Signals
from service.parts import Parts
from service.recommend.collect import Collector
from service.recommend.deadline import Deadline
from service.recommend.evidence import EvidenceReader
from service.recommend.filters import Candidate
from service.recommend.schemas import CandidateIn, RecommendIn, Skipped
from service.recommend.sources import Listed, Neighbours, New, Popular, Source
from service.state.reads import Answer
from service.state.records import Item, UserState
from service.state.scores import Kept

OFFERED = 3
"""New items that are read for each place they may have: some were seen, or do not pass the filters."""
LONGEST_LOOK = 10_000
FILTERED_LOOK = 1_200
"""Places of the popularity ranking that are read for one answer, and for one with filters."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What is read in the first round trip: the user, its cached scores, and what does not depend on the user."""

    state: UserState
    scores: Answer[Kept]
    given: Mapping[str, Item]
    popular: Popular | None
    new: New | None


@dataclass(frozen=True, slots=True)
class Retrieved:
    """Distinct candidates with their evidence, the items of the user's recents by id, and what was left out.

    Of candidates that were searched for, `seen` and `filtered` count those that were met and left out; `bounded`
    tells that there may be more.
    """

    candidates: list[Candidate]
    recents: Mapping[str, Item]
    collaborative: Mapping[str, float]
    popular: Mapping[str, float]
    skipped: list[Skipped] = field(default_factory=list)
    seen: int = 0
    filtered: int = 0
    bounded: bool = False


async def open_request(ask: RecommendIn, parts: Parts) -> Opening:
    """Read the user and all that can be asked with it.

    Raises:
        StateUnavailable: the store can't be read.
    """
    store = parts.store
    wave = store.wave()
    state, scores = wave.add(store.users.reading(ask.user_id)), wave.add(store.scores.reading(ask.user_id))
    given = wave.add(store.items.reading(candidate.item_id for candidate in ask.candidates or ()))
    popular = new = None
    if ask.candidates is None:
        sample = store.new_items.sample(
            ask.user_id, OFFERED * _new_places(ask, parts), parts.settings.recommend.new_items_s
        )
        popular, new = Popular(store, parts.metrics), New(sample, parts.metrics)
        popular.ask(wave)
        new.ask(wave)
    await wave.send()
    if popular is not None and new is not None:
        popular.take()
        new.take()
    return Opening(state.value(), scores, given.value(), popular, new)


async def retrieve(ask: RecommendIn, opening: Opening, parts: Parts, deadline: Deadline) -> Retrieved:
    """Look up the caller's candidates, or find some; with their evidence.

    Raises:
        StateUnavailable: the store can't be read.
    """
    shown = {event.item_id for event in opening.state.recents[-parts.settings.recommend.prompt_recents :]}
    evidence = EvidenceReader(parts.store, evidence_items(opening.state, parts.signals), parts.metrics)
    if ask.candidates is None:
        return await _find(ask, opening, shown, evidence, parts, deadline)
    candidates, skipped = _given(ask.candidates, opening.given)
    wave = parts.store.wave()
    recents = wave.add(parts.store.items.reading(shown))
    evidence.ask(wave, (candidate.item.item_id for candidate in candidates))
    await wave.send()
    return Retrieved(candidates, recents.value(), *evidence.read(), skipped)


def evidence_items(state: UserState, signals: Signals) -> list[str]:
    """The distinct items among the recents that speak for what is like them, newest last."""
    return list(
        dict.fromkeys(event.item_id for event in state.recents if signals(event.type, event.value) == "positive")
    )


def _given(asked: Iterable[CandidateIn], items: Mapping[str, Item]) -> tuple[list[Candidate], list[Skipped]]:
    given: dict[str, CandidateIn] = {}
    skipped: list[Skipped] = []
    for candidate in asked:
        if candidate.item_id in given:
            skipped.append(Skipped(candidate.item_id, "duplicate"))
        else:
            given[candidate.item_id] = candidate
    candidates = []
    for item_id, candidate in given.items():
        if merged := _merge(candidate, items.get(item_id)):
            candidates.append(merged)
        else:
            skipped.append(Skipped(item_id, "unknown_item"))
    return candidates, skipped


async def _find(
    ask: RecommendIn, opening: Opening, shown: set[str], evidence: EvidenceReader, parts: Parts, deadline: Deadline
) -> Retrieved:
    """Collect candidates, wave by wave, until there are enough, nothing is left, or half of the time is over."""
    store, settings = parts.store, parts.settings.recommend
    seen = opening.state.seen if ask.exclude_seen else frozenset()
    collector = Collector(
        _sources(ask, opening, seen, parts),
        count=max(settings.retrieve, ask.k),
        enough=ask.k,
        seen=seen,
        filters=ask.filters,
        most=settings.max_scanned_items,
    )
    until_s = deadline.remaining_s() / 2
    items: dict[str, Item] = {}
    recents: Answer[dict[str, Item]] | None = None
    late = False
    while True:
        wave = store.wave()
        look = () if late else collector.look()
        source = None if late else collector.hungry()
        if source is not None:
            source.ask(wave)
        read = wave.add(store.items.reading(look))
        if recents is None:
            recents = wave.add(store.items.reading(shown))
        # With filters most of what is looked at is left out.
        evidence.ask(wave, collector.found if ask.filters else look)
        if not wave:
            break
        await wave.send()
        items = read.value()
        collector.take(items)
        if source is not None:
            source.take()
        late = deadline.remaining_s() < until_s
    candidates = [Candidate(item, revision(item), name) for item, name in collector.found.values()]
    bounded = collector.short and (late or collector.at_bound)
    return Retrieved(
        candidates,
        recents.value(),
        *evidence.read(),
        seen=collector.skipped_seen,
        filtered=collector.filtered,
        bounded=bounded,
    )


def _new_places(ask: RecommendIn, parts: Parts) -> int:
    settings = parts.settings.recommend
    return math.ceil(settings.new_items_share * max(settings.retrieve, ask.k))


def _sources(ask: RecommendIn, opening: Opening, seen: frozenset[str], parts: Parts) -> list[Source]:
    store, metrics = parts.store, parts.metrics
    popular = opening.popular or Popular(store, metrics)
    popular.extend_to(FILTERED_LOOK if ask.filters else LONGEST_LOOK)
    new = [opening.new] if opening.new else []
    for source in new:
        # Which of them pass the filters nobody knows.
        source.keep((OFFERED if ask.filters else 1) * _new_places(ask, parts), seen)
    return [
        *new,
        Neighbours(store, evidence_items(opening.state, parts.signals), seen, metrics),
        popular,
        Listed("catalogue", store, store.items.indexes(), metrics),
    ]


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
