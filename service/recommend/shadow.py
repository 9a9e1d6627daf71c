"""Ranks with a shadow version after an answer was sent, and compares. Nobody is shown what it returns."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from service.http.pressure import Pressure
from service.logs import get_logger
from service.metrics import Metrics
from service.recommend.ranker import RankerUnavailable
from service.settings.recommend import RecommendSettings

log = get_logger(__name__)


class Difference(NamedTuple):
    """Of a shadow's ranking from the one that was shown.

    `score` is the mean difference between scores p(yes), 0..1; `correlation` is Spearman's, -1..1. None without
    common scores, or for fewer than two items.
    """

    score: float | None
    correlation: float | None


class Shadow:
    """A bounded queue of comparisons, a few of which run at the same time.

    They are the first to be dropped: when the queue is full, and while the gateway is under pressure.
    """

    def __init__(self, settings: RecommendSettings, pressure: Pressure, metrics: Metrics) -> None:
        self._pressure = pressure
        self._metrics = metrics
        self._concurrent = settings.max_concurrent_shadows
        self._queue: asyncio.Queue[tuple[str, Callable[[], Awaitable[Difference]]]] = asyncio.Queue(
            settings.max_waiting_shadows
        )
        self._tasks: list[asyncio.Task[None]] = []

    def submit(self, model: str, compare: Callable[[], Awaitable[Difference]], *, crowded: bool) -> None:
        """Compare later, or not at all.

        Args:
            crowded: whether requests wait for the ranker whose answer is compared.
        """
        if crowded or self._pressure.level > 0:
            self._metrics.shadow.labels(model, "load").inc()
        elif self._queue.full():
            self._metrics.shadow.labels(model, "queue_full").inc()
        else:
            self._queue.put_nowait((model, compare))
            if len(self._tasks) < self._concurrent:
                self._tasks.append(asyncio.create_task(self._run()))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            model, compare = await self._queue.get()
            try:
                difference = await compare()
            except RankerUnavailable:
                self._metrics.shadow.labels(model, "failed").inc()
                continue
            except Exception:
                # One comparison that fails must not end the others.
                log.exception("shadow_failed", model=model)
                self._metrics.shadow.labels(model, "failed").inc()
                continue
            self._metrics.shadow.labels(model, "compared").inc()
            if difference.score is not None:
                self._metrics.shadow_difference.labels(model).observe(difference.score)
            if difference.correlation is not None:
                self._metrics.shadow_correlation.labels(model).observe(difference.correlation)


def difference(
    shown: Mapping[str, float], shadow: Mapping[str, float], shown_order: Sequence[str], shadow_order: Sequence[str]
) -> Difference:
    """Compare two rankings of the same items.

    Args:
        shown, shadow: p(yes) by item id; one may lack some.
        shown_order, shadow_order: the items' ids, best first.
    """
    common = shown.keys() & shadow.keys()
    score = sum(abs(shown[item] - shadow[item]) for item in common) / len(common) if common else None
    return Difference(score, spearman(shown_order, shadow_order))


def spearman(first: Sequence[str], second: Sequence[str]) -> float | None:
    """Spearman's rank correlation of two orders of the same items; None for fewer than two."""
    number = len(first)
    if number < 2:
        return None
    places = {item: place for place, item in enumerate(second)}
    squares = sum((place - places[item]) ** 2 for place, item in enumerate(first))
    return 1 - 6 * squares / (number * (number**2 - 1))
