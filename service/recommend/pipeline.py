"""The steps of a recommendation: state -> retrieve -> filter -> rank -> rerank -> answer, under one deadline."""

import asyncio
import math
import random
import time
from dataclasses import dataclass, fields

from model_store.item_models.item_models import ItemModels
from model_store.registry.manifest import Blend
from service.errors import DeadlineExceeded, StateUnavailable
from service.index.current import Vectors
from service.index.rows import UNAVAILABLE, Rows
from service.index.vector_index import IndexUnavailable
from service.metrics import Metrics
from service.recommend.answer import answer, count
from service.recommend.blend import Exploration, Scored, blended, typical, without_model
from service.recommend.candidates import Candidate
from service.recommend.context import Situation, situation
from service.recommend.deadline import Deadline, Timing
from service.recommend.exploration import shuffled
from service.recommend.filters import keep
from service.recommend.limits import MOST_PAGED
from service.recommend.optional import optional
from service.recommend.ranker import Ranker
from service.recommend.ranking import CachedRanker, Ranking
from service.recommend.retrieval.popular_genres import PopularGenres
from service.recommend.retrieval.retriever import Opening, Retrieved, Retriever
from service.recommend.rollout import Choice, Lineup, Rollout
from service.recommend.rules import Odds, Rules, arrange, odds
from service.recommend.schemas import Policy, Recommendation, RecommendIn, Warned
from service.recommend.shadow import Difference, Shadow, difference
from service.recommend.shown import ShownWriter
from service.recommend.sight import Sight
from service.recommend.warnings import warn, warn_of_rules, warn_of_user, warn_of_vectors
from service.settings.recommend import RecommendSettings
from service.state.shown_log import Shown, ShownItem
from service.state.store import Store

_CANARY_SHARE = 0.5
"""Of the time for ranking, that a canary may use: production must be able to stand in."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A ranking, the version that made it, and why that one."""

    ranking: Ranking
    ranker: Ranker | None
    policy: Policy


@dataclass(frozen=True, slots=True)
class Asked:
    """A request with what was read for it."""

    ask: RecommendIn
    opening: Opening
    found: Retrieved
    candidates: list[Candidate]
    odds: Odds


@dataclass(frozen=True, slots=True)
class Served:
    """An answer, and what is needed for the work after it was sent: all that was scored, and the items shown."""

    recommendation: Recommendation
    lineup: Lineup
    asked: Asked
    ranked: Ranked
    scored: list[Scored]
    items: list[Scored]
    propensity: float
    places: list[float]
    """For each place of the answer, the probability of its item given those above."""


class Recommender:
    """Ranks items for users.

    Args:
        rollout: the model versions that rank.
        shadow: compares answers with a shadow version.
        shown: logs what was shown.
        tenant: whose users they are.
        vectors: the index of the tenant's items.
        popular: its popular items by genre.
        rng: draws the orders of exploration.
    """

    def __init__(
        self,
        store: Store,
        sight: Sight,
        rollout: Rollout,
        shadow: Shadow,
        shown: ShownWriter,
        settings: RecommendSettings,
        metrics: Metrics,
        tenant: str,
        vectors: Vectors,
        popular: PopularGenres,
        rng: random.Random | None = None,
    ) -> None:
        self._rollout = rollout
        self._shadow = shadow
        self._shown = shown
        self._temperature = settings.exploration_temperature
        self._new_share, self._same_at = settings.new_items_share, settings.duplicate_cosine
        self._pages, self._rotation = store.pages, store.rotation
        self._rng = rng or random.Random()  # noqa: S311
        self._metrics = metrics
        self._tenant = tenant
        self._deadline_s = settings.deadline_ms / 1000
        self._retriever = Retriever(store, settings, metrics, vectors, popular)
        self._searcher = vectors.searcher
        self._ranking = CachedRanker(store.scores, sight, metrics)

    async def recommend(self, ask: RecommendIn, deadline: Deadline) -> Served:
        """Rank candidates for a user before the deadline, without the model if necessary.

        `after` must follow when the answer was sent.

        Raises:
            InvalidFilter: an expression is wrong.
            InvalidRequest: another rule is.
            PageExpired: the recommendation to be continued is not remembered.
            StateUnavailable: the state store can't be read before the service's deadline.
            DeadlineExceeded: or before the deadline that the caller set.
        """
        timing, lineup, rules = Timing(), self._rollout.lineup, Rules.of(ask)
        choice = lineup.choose(ask.user_id)
        signals = choice.ranker.signals if choice.ranker else self._rollout.signals
        with timing.step("state"):
            opening = await deadline.in_time(self._retriever.open(ask, rules))
        state = opening.state
        models = choice.ranker.item_models if choice.ranker else ItemModels()
        left_out = rules.left_out(ask, state, opening.earlier)
        with timing.step("retrieve"):
            found = await deadline.in_time(
                self._retriever.retrieve(ask, rules, left_out, opening, signals, models, lineup.recents, deadline)
            )
        with timing.step("filter"):
            kept, filtered = keep(found.candidates, left_out, rules.wanted)
        asked = Asked(ask, opening, found, kept, odds(rules, kept, opening.rotating, ask.rotation))
        with timing.step("rank"):
            ranked, vectors = await asyncio.gather(
                self._rank(asked, choice, lineup.production, deadline),
                self._vectors(asked, rules, deadline),
            )
        ranker, ranking = ranked.ranker, ranked.ranking
        with timing.step("blend"):
            scored = _blend(asked, ranker, ranking, self._new_share)
        with timing.step("rerank"):
            arranged = arrange(scored, kept, ask.k, rules, vectors, self._same_at, opening.earlier)
            items, places = shuffled(arranged.items, self._temperature, self._rng)
        warnings = warn(ask, found, filtered, len(scored)) + warn_of_rules(ask, asked.odds, arranged, len(scored))
        shown = state.recents[-(ranker.recents if ranker else lineup.recents) :]
        warnings += warn_of_vectors(rules, found, vectors)
        warnings += warn_of_user(ask, _context(ask, ranker), shown, found.recents)
        skipped = [*found.skipped, *filtered, *arranged.skipped]
        model = ranker.id if ranker else None
        recommendation = answer(
            ask, state, model, ranked.policy, ranking, scored, items, kept, skipped, warnings, timing.close()
        )
        if ask.paged or ask.after is not None:
            await self._keep_page(asked, recommendation, deadline)
        count(self._metrics, self._tenant, ask, recommendation, found.candidates, len(scored), timing)
        return Served(recommendation, lineup, asked, ranked, scored, items, choice.propensity, places)

    async def after(self, served: Served) -> None:
        """What follows an answer that was sent: it is logged, and compared with the shadow if the model ranked it."""
        if self._shown.enabled and served.recommendation.items:
            self._shown.add(_shown(served))
        await self._rotate(served)
        shadow, ranked = served.lineup.shadow, served.ranked
        if shadow is None or ranked.ranker is None or ranked.ranking.reason is not None or not served.scored:
            return

        async def compare() -> Difference:
            return await self._compare(shadow, served)

        self._shadow.submit(shadow.id, compare, crowded=ranked.ranker.crowded)

    async def _rotate(self, served: Served) -> None:
        """Remember what was shown, so that it gives way in the next answers; without it, it does not."""
        if served.asked.ask.rotation and served.items:
            state = served.asked.opening.state
            with optional("rotation", self._metrics):
                await self._rotation.add(state.user_id, [item.item_id for item in served.items], state.read_at_ms)

    async def _keep_page(self, asked: Asked, recommendation: Recommendation, deadline: Deadline) -> None:
        """Remember what is shown; without it, the answer says that it can't be continued."""
        state = asked.opening.state
        shown = [*asked.opening.earlier, *(item.item_id for item in recommendation.items)]
        try:
            if len(shown) <= MOST_PAGED:
                rid = recommendation.recommendation_id
                await deadline.in_time(self._pages.remember(state.user_id, rid, shown, state.read_at_ms))
                return
            detail = f"the pages have more than {MOST_PAGED} items: they can't be continued"
        except (StateUnavailable, DeadlineExceeded):
            self._metrics.dependency_failures.labels("pages").inc()
            detail = "the state store could not remember the page: it can't be continued"
        recommendation.warnings.append(Warned("page_not_kept", detail))

    async def _vectors(self, asked: Asked, rules: Rules, deadline: Deadline) -> Rows:
        """The vectors that decide what is shown. An index that did not answer before is not asked again."""
        ids = rules.compared(asked.candidates, asked.opening.earlier)
        if ids and asked.found.vectors_unavailable:
            return UNAVAILABLE
        try:
            return await self._searcher.rows(asked.opening.index, ids, deadline.for_index().remaining_s())
        except IndexUnavailable:
            return UNAVAILABLE

    async def _rank(self, asked: Asked, choice: Choice, production: Ranker | None, deadline: Deadline) -> Ranked:
        """Rank with the version of the user, and with production if that is a canary that can't."""
        if choice.policy == "production":
            return Ranked(await self._scores(asked, production, deadline), production, "production")
        reason = "not_ready"
        if choice.ranker is not None:
            ranking = await self._scores(asked, choice.ranker, deadline.sooner(_CANARY_SHARE))
            if ranking.reason is None:
                return Ranked(ranking, choice.ranker, "canary")
            reason = ranking.reason
        self._metrics.rollout_fallbacks.labels(choice.version, reason).inc()
        return Ranked(await self._scores(asked, production, deadline), production, "fallback")

    async def _scores(self, asked: Asked, ranker: Ranker | None, deadline: Deadline) -> Ranking:
        opening, found = asked.opening, asked.found
        context = _context(asked.ask, ranker)
        return await self._ranking.rank(
            ranker, opening.state, opening.scores, found.recents, context, asked.candidates, deadline
        )

    async def _compare(self, shadow: Ranker, served: Served) -> Difference:
        asked, deadline = served.asked, Deadline(time.monotonic(), self._deadline_s)
        context, state = _context(asked.ask, shadow), asked.opening.state
        scores = await self._ranking.fresh(shadow, state, asked.found.recents, context, asked.candidates, deadline)
        order = [one.item_id for one in _blend(asked, shadow, Ranking(scores, len(scores)), self._new_share)]
        return difference(served.ranked.ranking.scores, scores, [one.item_id for one in served.scored], order)


def _blend(asked: Asked, ranker: Ranker | None, ranking: Ranking, new_share: float) -> list[Scored]:
    """The candidates in the order of the blend of their features."""
    weights = ranker.blend if ranker else Blend()
    # Without scores of the model nothing tells new items apart.
    explored = math.ceil(new_share * asked.ask.k) if ranking.reason is None else 0
    if ranking.reason is not None:
        weights = without_model(weights)
    ids, found = [candidate.item.item_id for candidate in asked.candidates], asked.found
    near = dict(zip(ids, ranker.item_models.score(found.near, ids), strict=True)) if ranker else {}
    return blended(
        ids,
        ranking.scores,
        found.collaborative,
        found.popular,
        near,
        weights,
        asked.odds.factors,
        Exploration(explored, asked.ask.k),
    )


def _shown(served: Served) -> Shown:
    recommendation, state = served.recommendation, served.asked.opening.state
    names = [field.name for field in fields(Scored) if field.name != "item_id"]
    mean = typical(served.scored, served.asked.ask.k) if any(item.unmet for item in served.items) else None
    items = [
        ShownItem(item.item_id, chance, [getattr(item, name) for name in names])
        for item, chance in zip(served.items, served.places, strict=True)
    ]
    return Shown(
        recommendation_id=recommendation.recommendation_id,
        user_id=state.user_id,
        read_at_ms=state.read_at_ms,
        model=recommendation.model or "",
        policy=recommendation.policy,
        propensity=served.propensity,
        served_by=recommendation.served_by,
        features=names,
        items=items,
        diversity=served.asked.ask.diversity,
        typical=mean._asdict() if mean else {},
    )


def _context(ask: RecommendIn, ranker: Ranker | None) -> Situation | None:
    """The part of the request's context that the model is shown; None if its prompts show none."""
    return situation(ask.context) if ranker and ranker.reads_context else None
