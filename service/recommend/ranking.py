"""Scores for candidates: those that are cached, and the model's for the rest."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import orjson

from model_store.views import ItemView, UserView
from service.parts import Parts
from service.recommend.context import Situation
from service.recommend.deadline import Deadline
from service.recommend.filters import Candidate
from service.recommend.ranker import Ranker, Unranked
from service.recommend.retrieve import Opening, revision
from service.recommend.tolerating import tolerating
from service.state.reads import Answer
from service.state.records import Item, UserState
from service.state.scores import Kept
from service.state.views import item_view, user_view


@dataclass(frozen=True, slots=True)
class Ranking:
    """p(yes) by item id. `fresh` of them were asked for now; `reason` says why the others are missing."""

    scores: Mapping[str, float]
    fresh: int = 0
    reason: str | None = None


async def rank(
    opening: Opening,
    recents: Mapping[str, Item],
    context: Situation | None,
    candidates: Sequence[Candidate],
    parts: Parts,
    deadline: Deadline,
) -> Ranking:
    """The model's scores: one call for all candidates whose score is not cached."""
    state = opening.state
    ranker = parts.ranker
    if ranker is None:
        return Ranking({}, reason="no_ranker")
    if not candidates:
        return Ranking({})
    stamp = score_stamp(state, recents, ranker, parts.settings.recommend.prompt_recents, context or ())
    cached = _cached(state, opening.scores, stamp, candidates, parts)
    missing = [candidate for candidate in candidates if candidate.item.item_id not in cached]
    parts.metrics.cached_scores.labels("hit").inc(len(cached))
    parts.metrics.cached_scores.labels("miss").inc(len(missing))
    if not missing:
        return Ranking(cached)
    user = user_view(state, recents, parts.settings.recommend.prompt_recents, context or ())
    scores = await _ask(ranker, user, missing, parts, deadline)
    if isinstance(scores, Unranked):
        return Ranking(cached, reason=scores.reason)
    fresh = {
        candidate.item.item_id: score for candidate, score in zip(missing, scores, strict=True) if score is not None
    }
    parts.metrics.candidates.labels("unscored").inc(len(missing) - len(fresh))
    await _keep(state, stamp, missing, fresh, parts, deadline)
    return Ranking({**cached, **fresh}, len(fresh), None if cached or fresh else "ranker_rejected")


def score_stamp(
    state: UserState, items: Mapping[str, Item], ranker: Ranker, recents: int, context: Situation = ()
) -> str:
    """A digest of all that a score depends on beside the item: the model version and what it sees of the user.

    `items` holds those of the recents by id; one that changes or goes is another prompt.
    """
    summary = (state.summary.version, state.summary.updated_at_ms) if state.summary else None
    shown = [
        (event.item_id, event.type, event.value, event.timestamp_ms, revision(items.get(event.item_id)))
        for event in state.recents[-recents:]
    ]
    signals = ranker.signals.digest if ranker.signals else None
    return blake2b(orjson.dumps((ranker.id, signals, summary, shown, context)), digest_size=12).hexdigest()


def _cached(
    state: UserState, kept: Answer[Kept], stamp: str, candidates: Sequence[Candidate], parts: Parts
) -> dict[str, float]:
    """Cached scores of the candidates whose revision is still the one that was scored."""
    if not state.known:
        return {}
    with tolerating("score_cache", parts.metrics):
        return kept.value()(stamp, {candidate.item.item_id: candidate.revision for candidate in candidates})
    return {}


async def _ask(
    ranker: Ranker, user: UserView, candidates: Sequence[Candidate], parts: Parts, deadline: Deadline
) -> list[float | None] | Unranked:
    pictures: Mapping[str, bytes] = {}
    with tolerating("pictures", parts.metrics):
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
    with tolerating("score_cache", parts.metrics):
        async with deadline.limit():
            await parts.store.scores.write(state.user_id, stamp, revisions, state.read_at_ms)


def _items(candidates: Sequence[Candidate]) -> Iterator[Item]:
    return (candidate.item for candidate in candidates)
