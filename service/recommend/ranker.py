"""The model that ranks: its calls, its limits, and the reasons why it is unavailable."""

import asyncio
import time
from collections.abc import Sequence

from model_store.engine.errors import EngineError, WrongScores
from model_store.engine.replicas import Replicas
from model_store.errors import UserError
from model_store.registry.manifest import Blend
from model_store.views import ItemView, UserView
from service import engines
from service.logs import get_logger
from service.metrics import Metrics
from service.recommend.deadline import Deadline
from service.settings import Settings

log = get_logger(__name__)
_REASONS = {
    "engine_timeout": "ranker_late",
    "engine_overloaded": "ranker_overloaded",
    "engine_unavailable": "ranker_down",
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
    """Scores candidates within a deadline, at most `concurrent` requests at a time.

    Attributes:
        blend: the model version's blend weights.
        recents: how many of a user's last interactions its prompts show.
        reads_context: whether its prompts show the context of a request.
        signals: what event types mean to its prompts.
    """

    def __init__(self, engines: Replicas, concurrent: int, metrics: Metrics) -> None:
        self.blend = engines.manifest.blend if engines.manifest else Blend()
        self.recents = engines.prompts.recents
        self.reads_context = engines.prompts.reads_context
        self.signals = engines.prompts.signals
        self._engines = engines
        self._metrics = metrics
        self._slots = asyncio.Semaphore(concurrent)

    @property
    def id(self) -> str:
        return self._engines.id

    async def healthy(self) -> bool:
        return await self._engines.healthy()

    async def close(self) -> None:
        await self._engines.close()

    async def score(
        self, user_id: str, user: UserView, items: Sequence[ItemView], deadline: Deadline
    ) -> list[float | None]:
        """p(yes) of each item, None for an item that the server rejects.

        Raises:
            RankerUnavailable: no scores before the deadline.
        """
        try:
            with self._metrics.ranker_wait_seconds.time():
                async with asyncio.timeout(deadline.for_ranking_s()):
                    await self._slots.acquire()
        except TimeoutError:
            raise RankerUnavailable("ranker_busy" if self._slots.locked() else "ranker_late") from None
        try:
            return await self._ask(user_id, user, items, deadline.for_ranking_s())
        finally:
            self._slots.release()

    async def _ask(
        self, user_id: str, user: UserView, items: Sequence[ItemView], timeout_s: float
    ) -> list[float | None]:
        started = time.perf_counter()
        outcome = "cancelled"
        try:
            scores = await self._engines.score(user_id, user, items, timeout_s=timeout_s)
            outcome = "ok"
            return scores
        except EngineError as error:
            outcome = error.code
            if isinstance(error, WrongScores):
                log.error("ranker_wrong_scores", model=self._engines.id, error=str(error))
            raise RankerUnavailable(_REASONS.get(error.code, "ranker_bad_answer")) from error
        finally:
            self._metrics.engine_calls.labels("ranker", "score", outcome).inc()
            self._metrics.engine_seconds.labels("ranker", "score").observe(time.perf_counter() - started)


def open_ranker(settings: Settings, metrics: Metrics) -> Ranker | None:
    """The ranker that the settings name, if they do.

    Raises:
        ManifestError: the settings name a model version that is not in the store.
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
    metrics.watch_engine(replicas, "ranker", settings.ranker.mode)
    return Ranker(replicas, settings.recommend.max_concurrent_ranks, metrics)
