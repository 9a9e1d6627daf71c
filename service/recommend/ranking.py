"""Scores of candidates: cached ones, and the model's for the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import orjson

from model_store.views import UserView
from service.metrics import Metrics
from service.recommend.candidates import Candidate, catalogue_revision
from service.recommend.context import Situation
from service.recommend.deadline import Deadline
from service.recommend.optional import optional
from service.recommend.ranker import Ranker, RankerUnavailable
from service.recommend.sight import Sight
from service.state.reads import Answer
from service.state.records import Item, UserState
from service.state.scores import Kept, Scores
from service.state.views import user_view


@dataclass(frozen=True, slots=True)
class Ranking:
    """p(yes) by item id. `fresh` counts those that the model returned now; `reason` says why others are missing."""

    scores: Mapping[str, float]
    fresh: int = 0
    reason: str | None = None


class CachedRanker:
    """Asks a ranker only for scores that are not cached."""

    def __init__(self, scores: Scores, sight: Sight, metrics: Metrics) -> None:
        self._scores = scores
        self._sight = sight
        self._metrics = metrics

    async def rank(
        self,
        ranker: Ranker | None,
        state: UserState,
        kept: Answer[Kept],
        recents: Mapping[str, Item],
        context: Situation | None,
        candidates: Sequence[Candidate],
        deadline: Deadline,
    ) -> Ranking:
        """Score the candidates, with one call for all those whose score is not cached.

        Args:
            ranker: None if no model is configured.
            kept: the user's cached scores.
            recents: the items of the user's recents, by id.
            context: the part of the request's context that the model is shown.
        """
        if ranker is None:
            return Ranking({}, reason="no_ranker")
        if not candidates:
            return Ranking({})
        key = cache_key(state, recents, ranker, context or ())
        cached = self._cached(state, kept, key, candidates)
        missing = [candidate for candidate in candidates if candidate.item.item_id not in cached]
        self._metrics.cached_scores.labels("hit").inc(len(cached))
        self._metrics.cached_scores.labels("miss").inc(len(missing))
        if not missing:
            return Ranking(cached)
        user = user_view(state, recents, ranker.recents, context or ())
        try:
            scores, lacking = await self._ask(ranker, state.user_id, user, missing, deadline)
        except RankerUnavailable as error:
            return Ranking(cached, reason=error.reason)
        scored = [(one, score) for one, score in zip(missing, scores, strict=True) if score is not None]
        self._metrics.count_scores(ranker.id, (score for _, score in scored))
        self._metrics.candidates.labels("unscored").inc(len(missing) - len(scored))
        # The revision of an item whose picture could not be read promises a score with it.
        lasting = [(one, score) for one, score in scored if one.item.item_id not in lacking]
        await self._keep(state, key, lasting, deadline)
        known = cached | {candidate.item.item_id: score for candidate, score in scored}
        return Ranking(known, len(scored), None if known else "ranker_rejected")

    async def fresh(
        self,
        ranker: Ranker,
        state: UserState,
        recents: Mapping[str, Item],
        context: Situation | None,
        candidates: Sequence[Candidate],
        deadline: Deadline,
    ) -> dict[str, float]:
        """Scores by item id, which neither come from the cache nor go there; see `rank` for the arguments.

        Raises:
            RankerUnavailable: no scores before the deadline.
        """
        user = user_view(state, recents, ranker.recents, context or ())
        scores, _ = await self._ask(ranker, state.user_id, user, candidates, deadline)
        scored = {one.item.item_id: score for one, score in zip(candidates, scores, strict=True) if score is not None}
        self._metrics.count_scores(ranker.id, scored.values())
        return scored

    def _cached(
        self, state: UserState, kept: Answer[Kept], key: str, candidates: Sequence[Candidate]
    ) -> dict[str, float]:
        """The cached scores of candidates that have not changed since they were scored."""
        if not state.known:
            return {}
        with optional("score_cache", self._metrics):
            return kept.value()(key, {candidate.item.item_id: candidate.revision for candidate in candidates})
        return {}

    async def _ask(
        self, ranker: Ranker, user_id: str, user: UserView, candidates: Sequence[Candidate], deadline: Deadline
    ) -> tuple[list[float | None], frozenset[str]]:
        """The scores, and the items that were scored without a picture that they have."""
        shown = await self._sight.show(ranker.manifest, [candidate.item for candidate in candidates], deadline)
        return await ranker.score(user_id, user, shown.views, deadline), shown.lacking

    async def _keep(
        self, state: UserState, key: str, scored: Sequence[tuple[Candidate, float]], deadline: Deadline
    ) -> None:
        """Cache fresh scores. Unknown users have no cache: made-up user ids would fill Redis."""
        if not state.known:
            return
        scores = {candidate.item.item_id: (candidate.revision, score) for candidate, score in scored}
        with optional("score_cache", self._metrics):
            async with deadline.limit():
                await self._scores.write(state.user_id, key, scores, state.read_at_ms)


def cache_key(state: UserState, items: Mapping[str, Item], ranker: Ranker, context: Situation = ()) -> str:
    """A digest of everything that a score depends on except the item: the model version and what it sees of the user.

    `items` holds the items of the recents by id, because the prompt shows them.
    """
    summary = (state.summary.version, state.summary.updated_at_ms) if state.summary else None
    shown = [
        (event.item_id, event.type, event.value, event.timestamp_ms, catalogue_revision(items.get(event.item_id)))
        for event in state.recents[-ranker.recents :]
    ]
    content = (ranker.id, ranker.signals.digest, summary, shown, context)
    return blake2b(orjson.dumps(content), digest_size=12).hexdigest()
