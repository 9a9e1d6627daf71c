"""The steps of a recommendation: state -> retrieve -> filter -> rank -> rerank -> answer, under one deadline."""

from model_store.prompts import RECENTS
from model_store.registry.manifest import Blend
from model_store.signals import Signals
from service.metrics import Metrics
from service.pictures.store import PictureStore
from service.recommend.answer import answer, count
from service.recommend.blend import Scored, blended, without_model
from service.recommend.candidates import Candidate
from service.recommend.context import situation
from service.recommend.deadline import Deadline, Timing
from service.recommend.filters import keep
from service.recommend.ranker import Ranker
from service.recommend.ranking import CachedRanker, Ranking
from service.recommend.retrieval.retriever import Retrieved, Retriever
from service.recommend.schemas import Recommendation, RecommendIn
from service.recommend.warnings import warn, warn_of_user
from service.settings import RecommendSettings
from service.state.store import Store


class Recommender:
    """Ranks items for users.

    Args:
        ranker: the model; None if none is configured.
        signals: what event types mean.
        tenant: whose users they are.
    """

    def __init__(
        self,
        store: Store,
        pictures: PictureStore,
        ranker: Ranker | None,
        signals: Signals,
        settings: RecommendSettings,
        metrics: Metrics,
        tenant: str,
    ) -> None:
        self._shown = ranker.recents if ranker else RECENTS
        self._ranker = ranker
        self._metrics = metrics
        self._tenant = tenant
        self._retriever = Retriever(store, signals, settings, self._shown, metrics)
        self._ranking = CachedRanker(ranker, store.scores, pictures, metrics)

    async def recommend(self, ask: RecommendIn, deadline: Deadline) -> Recommendation:
        """Rank candidates for a user before the deadline, without the model if necessary.

        Raises:
            StateUnavailable: the state store can't be read before the service's deadline.
            DeadlineExceeded: or before the deadline that the caller set.
        """
        timing, ranker = Timing(), self._ranker
        with timing.step("state"):
            opening = await deadline.in_time(self._retriever.open(ask))
        state = opening.state
        context = situation(ask.context) if ranker and ranker.reads_context else None
        with timing.step("retrieve"):
            found = await deadline.in_time(self._retriever.retrieve(ask, opening, deadline))
        with timing.step("filter"):
            kept, filtered = keep(found.candidates, state.seen if ask.exclude_seen else frozenset(), ask.filters)
        with timing.step("rank"):
            ranking = await self._ranking.rank(state, opening.scores, found.recents, context, kept, deadline)
        with timing.step("blend"):
            scored = self._rerank(kept, ranking, found)
        warnings = warn(ask, found, filtered, len(scored))
        warnings += warn_of_user(ask, context, state.recents[-self._shown :], found.recents)
        skipped = [*found.skipped, *filtered]
        model = ranker.id if ranker else None
        recommendation = answer(ask, state, model, ranking, scored, kept, skipped, warnings, timing.close())
        count(self._metrics, self._tenant, ask, recommendation, found.candidates, len(scored), timing)
        return recommendation

    def _rerank(self, candidates: list[Candidate], ranking: Ranking, found: Retrieved) -> list[Scored]:
        """The candidates in the order of the blend of their features."""
        weights = self._ranker.blend if self._ranker else Blend()
        if ranking.reason is not None:
            weights = without_model(weights)
        ids = (candidate.item.item_id for candidate in candidates)
        return blended(ids, ranking.scores, found.collaborative, found.popular, weights)
