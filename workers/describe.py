"""Describing: an item's picture and title into its item summary (MLLM-MSR, stage 1)."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from model_store.views import ItemView
from service.logs import get_logger
from service.metrics import Metrics
from service.settings import StateSettings
from service.state.records import Item, ItemClaim
from service.state.store import Store
from service.state.views import item_view
from workers.backoff import Pause, delay_s
from workers.model_calls import Refused, answered

log = get_logger(__name__)


class Describer(Protocol):
    """What describing asks of an engine; see `model_store.engine.Engine`."""

    @property
    def id(self) -> str: ...

    async def describe(self, item: ItemView, *, attempt: int = 0) -> str: ...

    async def healthy(self) -> bool: ...


class Pictures(Protocol):
    """What describing asks of the picture folder; None for a picture that is not there."""

    async def read(self, picture: str) -> bytes | None: ...


class Describing:
    """The job of describing items whose picture or words changed."""

    name = "describe"

    def __init__(
        self, store: Store, engine: Describer, pictures: Pictures, settings: StateSettings, metrics: Metrics
    ) -> None:
        self._store = store
        self._engine = engine
        self._pictures = pictures
        self._settings = settings
        self._metrics = metrics
        self._unreadable = Pause(settings.retry_base_s, settings.retry_max_s)

    async def claim(self, limit: int) -> Sequence[ItemClaim]:
        if self._unreadable.left_s() > 0:
            return []
        return await self._store.descriptions.claim(limit)

    async def extend(self, claims: Sequence[ItemClaim]) -> list[bool]:
        return await self._store.descriptions.extend(claims)

    async def release(self, claim: ItemClaim, retry_in_s: float) -> None:
        if await self._store.descriptions.release(claim, retry_in_s):
            self._metrics.descriptions.labels("released").inc()

    def key(self, claim: ItemClaim) -> str:
        return claim.item.item_id

    async def suspected(self, claim: ItemClaim, refused: Refused, retry_in_s: float) -> None:
        await self._failed(claim, refused.reason, retry_in_s)

    async def crashed(self, claim: ItemClaim) -> None:
        await self._failed(claim, "internal_error")

    async def work(self, claim: ItemClaim) -> bool:
        """Describe the claimed revision and commit; what the model refuses is retried, then buried."""
        try:
            picture = await self._pictures.read(claim.item.picture or "")
        except OSError as error:
            await self._wait_for_pictures(claim, error)
            return False
        self._unreadable.clear()
        if picture is None:
            await self._failed(claim, "picture_missing")
            return False
        try:
            text = await self._describe(claim.item, picture, claim.attempts)
        except Refused as refused:
            await self._failed(claim, refused.reason)
        else:
            committed = await self._store.descriptions.commit(claim, text, self._engine.id)
            self._metrics.descriptions.labels("described" if committed else "lost").inc()
        return True

    async def _describe(self, item: Item, picture: bytes, attempt: int) -> str:
        view = replace(item_view(item, picture), summary="")
        return await answered("describe", self._engine.describe(view, attempt=attempt), self._engine, self._metrics)

    async def _wait_for_pictures(self, claim: ItemClaim, error: OSError) -> None:
        """Give the claim back, and claim no more for a while. Folding needs no pictures and goes on."""
        wait_s = self._unreadable.trip()
        log.warning("pictures_unreadable", error=str(error)[:200], wait_s=round(wait_s, 2))
        await self.release(claim, wait_s)

    async def _failed(self, claim: ItemClaim, reason: str, retry_in_s: float = 0.0) -> None:
        attempt = claim.attempts + 1
        if attempt >= self._settings.max_attempts:
            if await self._store.descriptions.dead_letter(claim, reason) == "dead_lettered":
                self._metrics.descriptions.labels("buried").inc()
                log.error("description_buried", reason=reason, attempts=attempt)
            return
        state = self._settings
        wait_s = max(retry_in_s, delay_s(claim.attempts, state.retry_base_s, state.retry_max_s, random.random()))
        if await self._store.descriptions.fail(claim, wait_s):
            self._metrics.descriptions.labels("retried").inc()
            log.warning("description_retried", reason=reason, attempt=attempt, wait_s=round(wait_s, 2))
