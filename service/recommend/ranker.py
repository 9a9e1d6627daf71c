"""The model that ranks: its calls, its limits, and the reasons why it is unavailable."""

import asyncio
import time
from collections.abc import Sequence
from typing import Protocol

from model_store.engine.errors import (
    EngineError,
    EngineOverloaded,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
    WrongScores,
)
from model_store.engine.replicas import Replicas
from model_store.errors import UserError
from model_store.prompts import RECENTS
from model_store.registry.manifest import Blend
from model_store.signals import Signals
from model_store.views import ItemView, UserView
from service import engines
from service.logs import get_logger
from service.metrics import Metrics
from service.recommend.deadline import Deadline
from service.settings import Settings

log = get_logger(__name__)


class Server(Protocol):
    """What readiness asks of a model server."""

    @property
    def id(self) -> str: ...

    async def healthy(self) -> bool: ...

    async def close(self) -> None: ...


class RankerUnavailable(Exception):
    """The ranker returned no scores; `reason` is a stable label."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Ranker:
    """Scores candidates within a deadline, at most `concurrent` requests at a time.

    Args:
        engines: ask the model.
        blend: the model version's blend weights.
        signals: what event types mean to its prompts; None to use the settings.
        recents: how many of a user's last interactions its prompts show.
        reads_context: whether its prompts show the context of a request.
    """

    def __init__(
        self,
        engines: Replicas,
        blend: Blend,
        metrics: Metrics,
        concurrent: int,
        signals: Signals | None = None,
        *,
        recents: int = RECENTS,
        reads_context: bool = False,
    ) -> None:
        self.blend = blend
        self.recents = recents
        self.reads_context = reads_context
        self.signals = signals
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
            raise RankerUnavailable(_reason(error)) from error
        finally:
            self._metrics.engine_calls.labels("ranker", "score", outcome).inc()
            self._metrics.engine_seconds.labels("ranker", "score").observe(time.perf_counter() - started)


_REASONS: tuple[tuple[type[EngineError], str], ...] = (
    (EngineTimeout, "ranker_late"),
    (EngineOverloaded, "ranker_overloaded"),
    (EngineUnavailable, "ranker_down"),
    (WrongScores, "ranker_wrong_scores"),
    (EngineRejected, "ranker_rejected"),
)


def _reason(error: EngineError) -> str:
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), "ranker_bad_answer")


def open_ranker(settings: Settings, metrics: Metrics) -> Ranker | None:
    """The ranker that the settings name, if they do.

    Raises:
        ManifestError: the settings name a model version that is not in the store.
        UserError: the prompts of the version show more of a user's interactions than the settings keep.
    """
    ranker = engines.open_ranker(settings)
    if ranker is None:
        return None
    require_recents(ranker, settings)
    blend = ranker.manifest.blend if ranker.manifest else Blend()
    prompts = ranker.prompts
    slots = settings.recommend.max_concurrent_ranks
    return Ranker(
        ranker,
        blend,
        metrics,
        slots,
        prompts.signals,
        recents=prompts.recents,
        reads_context=prompts.reads_context,
    )


def require_recents(engine: Replicas, settings: Settings) -> None:
    """Require that the service keeps as many interactions as the prompts of the model version show.

    Raises:
        UserError: it keeps fewer; the message names the setting.
    """
    shown, kept = engine.prompts.recents, settings.state.recents
    if engine.manifest and shown > kept:
        raise UserError(
            f"the prompts of {engine.manifest.id} show a user's last {shown} interactions, and {kept} are kept: "
            f"set TASTESTREAM_STATE__RECENTS={shown}"
        )
