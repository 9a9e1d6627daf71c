"""Scores for candidates: those that are cached, the model's for the rest, and what else is known of them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b

import orjson

from model_store.views import ItemView, UserView
from service.errors import StateUnavailable
from service.logs import get_logger
from service.parts import Parts
from service.recommend.deadline import Deadline
from service.recommend.ranker import Ranker, Unranked
from service.recommend.retrieve import Candidate, evidence_items, revision
from service.state.records import Item, UserState
from service.state.views import item_view, user_view

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ranking:
    """p(yes) by item id. `fresh` of them were asked for now; `reason` says why the others are missing."""

    scores: Mapping[str, float]
    fresh: int = 0
    reason: str | None = None


async def rank(
    state: UserState, recents: Mapping[str, Item], candidates: Sequence[Candidate], parts: Parts, deadline: Deadline
) -> Ranking:
    """The model's scores: one call for all candidates whose score is not cached."""
    ranker = parts.ranker
    if ranker is None:
        return Ranking({}, reason="no_ranker")
    if not candidates:
        return Ranking({})
    stamp = score_stamp(state, recents, ranker, parts.settings.recommend.prompt_recents)
    cached = await _cached(state, stamp, candidates, parts, deadline)
    missing = [candidate for candidate in candidates if candidate.item.item_id not in cached]
    parts.metrics.cached_scores.labels("hit").inc(len(cached))
    parts.metrics.cached_scores.labels("miss").inc(len(missing))
    if not missing:
        return Ranking(cached)
    user = user_view(state, recents, parts.settings.recommend.prompt_recents)
    scores = await _ask(ranker, user, missing, parts, deadline)
    if isinstance(scores, Unranked):
        return Ranking(cached, reason=scores.reason)
    fresh = {
        candidate.item.item_id: score for candidate, score in zip(missing, scores, strict=True) if score is not None
    }
    parts.metrics.candidates.labels("unscored").inc(len(missing) - len(fresh))
    await _keep(state, stamp, missing, fresh, parts, deadline)
    return Ranking({**cached, **fresh}, len(fresh), None if cached or fresh else "ranker_rejected")


def score_stamp(state: UserState, items: Mapping[str, Item], ranker: Ranker, recents: int) -> str:
    """A digest of all that a score depends on beside the item: the model version and what it sees of the user.

    `items` holds those of the recents by id; one that changes or goes is another prompt.
    """
    summary = (state.summary.version, state.summary.updated_at_ms) if state.summary else None
    shown = [
        (event.item_id, event.type, event.value, event.timestamp_ms, revision(items.get(event.item_id)))
        for event in state.recents[-recents:]
    ]
    signals = ranker.signals.digest if ranker.signals else None
    return blake2b(orjson.dumps((ranker.id, signals, summary, shown)), digest_size=12).hexdigest()


async def gather_evidence(
    state: UserState, item_ids: Sequence[str], parts: Parts, deadline: Deadline
) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """Collaborative and popularity evidence of the items; a part that can't be had in time is left out."""
    evidence = parts.store.evidence
    collaborative: Mapping[str, float] = {}
    popular: Mapping[str, float] = {}
    if not item_ids:
        return collaborative, popular
    with _tolerating("collaborative", parts):
        async with deadline.limit():
            collaborative = await evidence.collaborative(evidence_items(state, parts.signals), item_ids)
    with _tolerating("popular", parts):
        async with deadline.limit():
            popular = await evidence.popularity(item_ids)
    return collaborative, popular


async def _cached(
    state: UserState, stamp: str, candidates: Sequence[Candidate], parts: Parts, deadline: Deadline
) -> dict[str, float]:
    """Cached scores of the candidates whose revision is still the one that was scored."""
    cached: dict[str, float] = {}
    if not state.known:
        return cached
    revisions = {candidate.item.item_id: candidate.revision for candidate in candidates}
    with _tolerating("score_cache", parts):
        async with deadline.limit():
            cached = await parts.store.scores.read(state.user_id, stamp, revisions)
    return cached


async def _ask(
    ranker: Ranker, user: UserView, candidates: Sequence[Candidate], parts: Parts, deadline: Deadline
) -> list[float | None] | Unranked:
    pictures: Mapping[str, bytes] = {}
    with _tolerating("pictures", parts):
        async with deadline.limit():
            pictures = await parts.pictures.read_many(item.picture for item in _items(candidates) if item.picture)
    items: list[ItemView] = [item_view(item, pictures.get(item.picture or "")) for item in _items(candidates)]
    return await ranker.score(user, items, deadline)


async def _keep(
    state: UserState,
    stamp: str,
    candidates: Sequence[Candidate],
    scores: Mapping[str, float],
    parts: Parts,
    deadline: Deadline,
) -> None:
    if not state.known:
        return
    revisions = {
        candidate.item.item_id: (candidate.revision, scores[candidate.item.item_id])
        for candidate in candidates
        if candidate.item.item_id in scores
    }
    with _tolerating("score_cache", parts):
        async with deadline.limit():
            await parts.store.scores.write(state.user_id, stamp, revisions, state.read_at_ms)


def _items(candidates: Sequence[Candidate]) -> Iterator[Item]:
    return (candidate.item for candidate in candidates)


@contextmanager
def _tolerating(part: str, parts: Parts) -> Iterator[None]:
    """Go on without this part when its store fails or is late: an answer with less beats none."""
    try:
        yield
    except (StateUnavailable, TimeoutError, OSError) as error:
        parts.metrics.evidence_failures.labels(part).inc()
        log.warning("recommending_without", part=part, error=type(error).__name__)
