"""What a call that was not made says: nothing about the work, nothing about the server."""

import pytest

from model_store.engine.errors import CircuitOpen
from service.metrics import Metrics
from tests.workers.doubles import RecordingSummarizer
from workers.job import ServerUnavailable
from workers.model_calls import answer_of


class NeverAsked(RecordingSummarizer):
    async def healthy(self) -> bool:
        raise AssertionError("a server that is left alone is not asked for its health either")


async def test_an_open_breaker_makes_no_work_suspect_and_is_no_further_failure_of_the_server() -> None:
    async def refused() -> str:
        raise CircuitOpen("not asked")

    metrics = Metrics()
    with pytest.raises(ServerUnavailable) as caught:
        await answer_of("summarize", refused(), NeverAsked(), metrics)  # type: ignore[arg-type]
    assert (caught.value.asked, caught.value.suspect) == (False, None)
    labels = {"engine": "summarizer", "call": "summarize"}
    calls = metrics.registry.get_sample_value("tastestream_engine_calls_total", {**labels, "outcome": "engine_open"})
    assert calls == 1
    assert not metrics.registry.get_sample_value("tastestream_engine_call_seconds_count", labels), "it took no time"
