"""Logs what was shown, after it was sent: in batches, bounded, and without delaying an answer."""

import asyncio
from contextlib import suppress

from service.errors import StateUnavailable
from service.logs import get_logger
from service.metrics import Metrics
from service.state.shown_log import Shown, ShownLog

log = get_logger(__name__)
_BATCH_S = 0.2
_MOST_WAITING, _MOST_AT_ONCE = 2000, 200


class ShownWriter:
    """Writes answers to a tenant's log. When Redis does not keep up or fails, answers are left out and counted."""

    def __init__(self, shown_log: ShownLog, metrics: Metrics) -> None:
        self._log = shown_log
        self._metrics = metrics
        self._waiting: list[Shown] = []
        self._task: asyncio.Task[None] | None = None
        self.enabled = shown_log.enabled

    def add(self, shown: Shown) -> None:
        """Write an answer later."""
        if len(self._waiting) >= _MOST_WAITING:
            self._metrics.shown.labels("dropped").inc()
            return
        self._waiting.append(shown)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write())

    async def close(self) -> None:
        """Write what waits."""
        if self._task is not None:
            with suppress(asyncio.CancelledError):
                await self._task

    async def _write(self) -> None:
        while self._waiting:
            await asyncio.sleep(_BATCH_S)
            batch, self._waiting = self._waiting[:_MOST_AT_ONCE], self._waiting[_MOST_AT_ONCE:]
            try:
                written = await self._log.write(batch)
            except StateUnavailable as error:
                log.warning("shown_not_logged", answers=len(batch), error=type(error).__name__)
                self._metrics.shown.labels("failed").inc(len(batch))
            except Exception:
                log.exception("shown_not_logged", answers=len(batch))
                self._metrics.shown.labels("failed").inc(len(batch))
            else:
                self._metrics.shown.labels("logged").inc(written)
