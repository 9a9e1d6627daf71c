"""Describing: an item's picture and title into its item summary (MLLM-MSR, stage 1)."""

from dataclasses import replace
from typing import Protocol

from model_store.views import ItemView
from service.metrics import Metrics
from service.state.derived import Derivations
from service.state.leases import DeadLettered
from service.state.records import ItemClaim
from service.state.views import item_view
from workers.backoff import Retry
from workers.job import Job, JobUnavailable, Outcome, WorkFailed, committed
from workers.model_calls import answer_of


class Describer(Protocol):
    """What describing asks of an engine; see `model_store.engine.Engine`."""

    @property
    def id(self) -> str: ...

    async def describe(self, item: ItemView, *, attempt: int = 0) -> str: ...

    async def healthy(self) -> bool: ...


class Pictures(Protocol):
    """What describing asks of the picture folder; None for a picture that is not there."""

    async def read(self, picture: str) -> bytes | None: ...


class DescribeJob(Job[ItemClaim]):
    """Describes items whose picture or words changed."""

    def __init__(
        self, queue: Derivations, engine: Describer, pictures: Pictures, retry: Retry, metrics: Metrics
    ) -> None:
        super().__init__(queue, retry, metrics)
        self._queue = queue
        self._engine = engine
        self._pictures = pictures

    async def work(self, claim: ItemClaim) -> Outcome:
        try:
            picture = await self._pictures.read(claim.item.picture or "")
        except OSError as error:
            raise JobUnavailable(f"pictures can't be read: {error}") from error
        if picture is None:
            raise WorkFailed("picture_missing", server_answered=False)
        view = replace(item_view(claim.item, picture), summary="")
        asking = self._engine.describe(view, attempt=claim.attempts)
        text = await answer_of("describe", asking, self._engine, self._metrics)
        return committed(await self._queue.commit(claim, text, self._engine.id))

    async def dead_letter(self, claim: ItemClaim, failure: WorkFailed) -> DeadLettered:
        return await self._queue.dead_letter(claim, failure.reason)
