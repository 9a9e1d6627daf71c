"""A log that fails in a way that nobody expected loses answers, counts them, and ends nothing."""

from types import SimpleNamespace
from typing import Any

from service.metrics import Metrics
from service.recommend.shown import ShownWriter


async def test_answers_that_an_unexpected_error_lost_are_counted() -> None:
    async def write(batch: list[Any]) -> int:
        raise TypeError("a bug")

    log: Any = SimpleNamespace(enabled=True, write=write)
    metrics = Metrics()
    writer = ShownWriter(log, metrics)
    shown: Any = object()
    writer.add(shown)
    await writer.close()
    assert metrics.shown.labels("failed")._value.get() == 1
