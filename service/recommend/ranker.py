"""The model that ranks: its calls, its limits, and the reasons why it is unavailable."""

import time
from collections.abc import Sequence
from typing import Literal

from model_store.engine.errors import EngineError, WrongScores
from model_store.engine.replicas import Replicas
from model_store.errors import UserError
from model_store.item_models.item_models import ItemModels
from model_store.registry.manifest import Blend
from model_store.views import ItemView, UserView
from service import engines
from service.logs import get_logger
from service.metrics import Metrics
from service.recommend.concurrency import Began, ConcurrencyLimit
from service.recommend.deadline import Deadline
from service.recommend.slots import Hopeless, Slots
from service.settings import Settings
from service.tracing import span

log = get_logger(__name__)
RankerRole = Literal["ranker", "canary", "shadow"]
_REASONS = {
    "engine_timeout": "ranker_late",
    "engine_overloaded": "ranker_overloaded",
    "engine_unavailable": "ranker_down",
    "engine_open": "ranker_open",
    "engine_rejected": "ranker_rejected",
    "prompt_too_long": "ranker_rejected",
    "wrong_scores": "ranker_wrong_scores",
}
"""By the code of the engine's error; the reason of others is `ranker_bad_answer`."""


class RankerUnavailable(Exception):
    """The ranker returned no scores; `reason` is a stable label."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Ranker:
    """Scores candidates within a deadline, as many requests at a time as the ranker can serve.

    Args:
        limit: how many; each call adapts it.
        item_models: those of the model version.
        role: what its calls are counted as.

    Attributes:
        manifest: the model version; None for a general model.
        blend: the model version's blend weights.
        recents: how many of a user's last interactions its prompts show.
        reads_context: whether its prompts show the context of a request.
        signals: what event types mean to its prompts.
    """

    def __init__(
        self,
        engines: Replicas,
        limit: ConcurrencyLimit,
        metrics: Metrics,
        item_models: ItemModels,
        role: RankerRole = "ranker",
    ) -> None:
        self._role = role
        self.item_models = item_models
        self.manifest = engines.manifest
        self.blend = engines.manifest.blend if engines.manifest else Blend()
        self.recents = engines.prompts.recents
        self.reads_context = engines.prompts.reads_context
        self.signals = engines.prompts.signals
        self._engines = engines
        self._metrics = metrics
        self._limit = limit
        in_flight = metrics.ranker_concurrent_parts.part()
        self._slots = Slots(lambda: limit.limit, in_flight)
        self._show_limit = metrics.ranker_limit_parts.part()
        self._show_limit(limit.limit)
        self._show_in_flight = in_flight
        self._seconds = metrics.version_rank_seconds.labels(engines.id)

    @property
    def id(self) -> str:
        return self._engines.id

    @property
    def urls(self) -> list[str]:
        """Its servers."""
        return self._engines.urls

    @property
    def crowded(self) -> bool:
        """Whether requests wait for a place."""
        return self._slots.waiting > 0

    async def check(self) -> None:
        """Raise EngineError unless a server works, serves this version and scores as its probe does."""
        await self._engines.check()

    async def healthy(self) -> bool:
        return await self._engines.healthy()

    async def close(self) -> None:
        self._metrics.forget_engine(self._engines, self._role)
        self._show_limit(0)
        self._show_in_flight(0)
        await self._engines.close()

    async def score(
        self, user_id: str, user: UserView, items: Sequence[ItemView], deadline: Deadline
    ) -> list[float | None]:
        """p(yes) of each item, None for an item that the server rejects.

        Raises:
            RankerUnavailable: no scores before the deadline.
        """
        asked_s = deadline.for_ranking_s()
        if asked_s <= 0:
            raise RankerUnavailable("ranker_late")
        try:
            with self._metrics.ranker_wait_seconds.time():
                await self._slots.acquire(asked_s)
        except Hopeless:
            if self._role == "ranker":
                self._metrics.shed.labels("ranking").inc()
            raise RankerUnavailable("ranker_busy") from None
        took_s = None
        try:
            scores, took_s = await self._ask(user_id, user, items, asked_s, deadline.for_ranking_s())
            return scores
        finally:
            self._slots.release(took_s)

    async def _ask(
        self, user_id: str, user: UserView, items: Sequence[ItemView], asked_s: float, left_s: float
    ) -> tuple[list[float | None], float]:
        """The scores, and how long they took."""
        call, started = self._limit.begin(), time.perf_counter()
        outcome = "cancelled"
        try:
            with span("score", calls=True):
                scores = await self._engines.score(user_id, user, items, timeout_s=left_s)
            outcome = "ok"
            took_s = time.perf_counter() - started
            self._seconds.observe(took_s)
            return scores, took_s
        except EngineError as error:
            outcome = error.code
            if isinstance(error, WrongScores):
                log.error("ranker_wrong_scores", model=self._engines.id, error=str(error))
            raise RankerUnavailable(_REASONS.get(error.code, "ranker_bad_answer")) from error
        finally:
            took_s = time.perf_counter() - started
            self._learn(call, outcome, took_s, asked_s)
            self._metrics.count_call(self._role, "score", outcome, took_s)

    def _learn(self, call: Began, outcome: str, took_s: float, asked_s: float) -> None:
        match outcome:
            case "ok":
                self._limit.answered(call, took_s=took_s, asked_s=asked_s, in_flight=self._slots.in_flight)
            case "engine_timeout":
                self._limit.late(call, waited_s=took_s, asked_s=asked_s)
            case "engine_overloaded":
                self._limit.shed(call)
        self._show_limit(self._limit.limit)


def open_ranker(settings: Settings, metrics: Metrics, role: RankerRole = "ranker") -> Ranker | None:
    """The ranker that the settings name, if they do.

    Args:
        role: what its calls are counted as: those of a canary or a shadow are not those on which answers depend.

    Raises:
        ManifestError: the settings name a model version that is not in the store, or its item models are missing.
        ItemModelError: an item model is too large, or malformed.
        UserError: the prompts of the version show more of a user's interactions than the settings keep.
    """
    replicas = engines.open_ranker(settings)
    if replicas is None:
        return None
    shown, kept = replicas.prompts.recents, settings.state.recents
    if replicas.manifest and shown > kept:
        raise UserError(
            f"the prompts of {replicas.manifest.id} show a user's last {shown} interactions, and {kept} are kept: "
            f"set TASTESTREAM_STATE__RECENTS={shown}"
        )
    item_models = engines.item_models(settings, replicas.manifest)
    item_models.prepare()
    metrics.watch_engine(replicas, role, replicas.way)
    asked = settings.recommend
    usual = Deadline(time.monotonic(), asked.deadline_ms / 1000)
    limit = ConcurrencyLimit(asked.min_concurrent_ranks, asked.max_concurrent_ranks, usual.for_ranking_s())
    return Ranker(replicas, limit, metrics, item_models, role)
