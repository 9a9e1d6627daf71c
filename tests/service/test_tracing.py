"""Traces reach a real collector: one from an event to the model call of its fold, one from a request to the ranker."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Iterator, MutableMapping
from typing import Any

import pytest
import structlog
import structlog.testing
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from model_store.errors import UserError
from model_store.signals import Signals
from service.engines import open_summarizer
from service.logs import _add_ids
from service.metrics import Metrics
from service.names import DEFAULT_TENANT
from service.settings import Settings
from service.settings.engines import EngineSettings
from service.settings.tracing import TracingSettings
from service.state.store import Store
from service.tracing import Place, from_store, from_traceparent, open_tracer, span, to_store
from tests.service.collector import Collector, collecting
from tests.service.conftest import Gateway, OpenGateway
from tests.service.recommend.asking import fill, recommend
from tests.service.serving import ModelServer, serving
from workers.job import Summarizer as OpenedSummarizer
from workers.run import work

TRACE_ID, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLED = {"traceparent": f"00-{TRACE_ID}-{CALLER}-01"}
EVENT = {"user_id": "secret-user", "item_id": "secret-item"}


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with collecting() as collector:
        yield collector


@pytest.fixture
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    """What is logged, with the ids of request and trace."""
    captured, before = structlog.testing.LogCapture(), structlog.get_config()["processors"]
    structlog.configure(processors=[_add_ids, captured])
    yield captured.entries
    structlog.configure(processors=before)


def ids(one: Any) -> tuple[str, str, str]:
    """Trace, span and parent of a collected span."""
    return one.trace_id.hex(), one.span_id.hex(), one.parent_span_id.hex()


class Summarizer:
    """A generating server that remembers the headers of its requests."""

    def __init__(self, refusals: int = 0) -> None:
        self.headers: list[str | None] = []
        self._refusals = refusals

    def app(self) -> Starlette:
        chat = Route("/v1/chat/completions", self._answer, methods=["POST"])
        models = Route("/v1/models", lambda _: JSONResponse({"data": [{"id": "writer"}]}))
        return Starlette(routes=[chat, models, Route("/health", lambda _: Response())])

    async def _answer(self, request: Request) -> Response:
        self.headers.append(request.headers.get("traceparent"))
        self._refusals -= 1
        if self._refusals >= 0:
            return JSONResponse({"error": {"message": "not this prompt"}}, 400)
        message = {"role": "assistant", "content": "Likes green tea."}
        return JSONResponse({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})


async def fold(settings: Settings) -> None:
    """Run a worker until nothing is pending."""
    engine = open_summarizer(settings)
    assert engine is not None
    tracer, stop, store = open_tracer(settings, "worker"), asyncio.Event(), Store(settings)
    summarizers = {DEFAULT_TENANT: OpenedSummarizer(engine, "p", Signals())}
    working = asyncio.create_task(work(settings, summarizers, Metrics(), stop, tracer))
    async with asyncio.timeout(300):
        while await store.users.backlog():  # noqa: ASYNC110 - it is another process's
            await asyncio.sleep(0.01)
    stop.set()
    await working
    await store.close()
    await engine.close()
    if tracer is not None:
        await tracer.close()


async def test_one_trace_leads_from_the_event_to_the_model_call_of_its_fold(
    open_gateway: OpenGateway, collector: Collector
) -> None:
    summarizer = Summarizer()
    async with serving(summarizer.app()) as url:
        settings = {
            "summarizer": EngineSettings(url=url, model="writer"),
            "tracing": TracingSettings(endpoint=collector.url),
        }
        async with open_gateway(**settings) as gateway:
            await gateway.ask("PUT", "/items/secret-item", {"title": "Green tea"})
            answer = await gateway.ask("POST", "/events", [EVENT] * 3, headers=CALLED)
            assert answer.json()["accepted"] == 3
            # Before the gateway is closed, which sends its spans.
            await fold(gateway.settings)
    request, accept = collector.one("POST /events"), collector.one("accept")
    folded, call = collector.one("fold"), collector.one("summarize")
    assert ids(request)[::2] == (TRACE_ID, CALLER)
    assert ids(accept)[::2] == (TRACE_ID, ids(request)[1])
    assert ids(folded)[::2] == (TRACE_ID, ids(accept)[1])
    assert ids(call)[::2] == (TRACE_ID, ids(folded)[1])
    assert summarizer.headers == [f"00-{TRACE_ID}-{ids(call)[1]}-01"]
    assert answer.headers["traceresponse"] == f"00-{TRACE_ID}-{ids(request)[1]}-01"
    sent = b"".join(collector.bodies)
    assert not re.search(rb"secret|[Tt]ea", sent), "no id and no text"


async def test_a_fold_of_several_traces_is_linked_to_the_others(
    open_gateway: OpenGateway, collector: Collector
) -> None:
    async with serving(Summarizer().app()) as url:
        settings = {
            "summarizer": EngineSettings(url=url, model="writer"),
            "tracing": TracingSettings(endpoint=collector.url),
        }
        async with open_gateway(**settings) as gateway:
            await gateway.ask("PUT", "/items/secret-item", {"title": "Green tea"})
            for number in range(3):
                await gateway.ask("POST", "/events", {**EVENT, "event_id": str(number)})
            await fold(gateway.settings)
    first, *others = [ids(one)[:2] for one in collector.named("accept")]
    (folded,) = collector.named("fold")
    assert ids(folded)[::2] == first
    assert [(link.trace_id.hex(), link.span_id.hex()) for link in folded.links] == others


async def test_one_trace_leads_from_the_request_to_the_ranker(
    open_ranked: OpenGateway, model: ModelServer, collector: Collector
) -> None:
    headers: list[str | None] = []
    watch(model, headers)
    async with (
        serving(model.app()) as url,
        open_ranked(url, tracing=TracingSettings(endpoint=collector.url)) as gateway,
    ):
        await fill(gateway, "tea", "pan", "hat")
        await recommend(gateway)
    request, rank, score = (collector.one(name) for name in ("POST /recommend", "rank", "score"))
    assert ids(rank)[::2] == ids(request)[:2]
    assert ids(score)[::2] == ids(rank)[:2]
    assert headers == [f"00-{ids(score)[0]}-{ids(score)[1]}-01"]
    assert {"state", "retrieve"} <= {one.name for one in collector.spans}


def watch(model: ModelServer, headers: list[str | None]) -> None:
    """Keep the trace headers of requests for scores."""
    answer = model._score

    async def watched(request: Request) -> Response:
        headers.append(request.headers.get("traceparent"))
        return await answer(request)

    model._score = watched  # type: ignore[method-assign]


async def test_log_lines_of_a_request_have_the_ids_of_its_span(
    open_gateway: OpenGateway, collector: Collector, logs: list[MutableMapping[str, Any]]
) -> None:
    async with open_gateway(tracing=TracingSettings(endpoint=collector.url)) as gateway:
        await gateway.ask("POST", "/events", {}, headers=CALLED)
    (line,) = [one for one in logs if one["event"] == "request"]
    assert (line["trace_id"], line["span_id"]) == ids(collector.one("POST /events"))[:2]


async def test_log_lines_of_a_fold_have_the_ids_of_its_span(
    open_gateway: OpenGateway, collector: Collector, logs: list[MutableMapping[str, Any]]
) -> None:
    summarizer = Summarizer(refusals=1)
    async with serving(summarizer.app()) as url:
        settings = {
            "summarizer": EngineSettings(url=url, model="writer"),
            "tracing": TracingSettings(endpoint=collector.url),
        }
        async with open_gateway(**settings) as gateway:
            await gateway.ask("PUT", "/items/secret-item", {"title": "Green tea"})
            await gateway.ask("POST", "/events", [EVENT] * 3, headers=CALLED)
            await fold(gateway.settings)
    (line,) = [one for one in logs if one["event"] == "retried"]
    failed, worked = collector.named("fold")
    assert (line["trace_id"], line["span_id"]) == ids(failed)[:2]
    assert [one.status.code for one in (failed, worked)] == [2, 0]


async def test_without_a_collector_log_lines_have_the_callers_trace_id(
    gateway: Gateway, logs: list[MutableMapping[str, Any]]
) -> None:
    answer = await gateway.ask("POST", "/events", {}, headers=CALLED)
    await gateway.ask("POST", "/events", {})
    traced, untraced = [one for one in logs if one["event"] == "request"]
    assert traced["trace_id"] == TRACE_ID
    assert "span_id" not in traced
    assert "trace_id" not in untraced
    assert "traceresponse" not in answer.headers


async def test_an_event_without_a_sampled_trace_stores_nothing_more(
    open_gateway: OpenGateway, collector: Collector
) -> None:
    async def stored(user: str, **settings: Any) -> str | None:
        async with open_gateway(**settings) as gateway:
            await gateway.ask("POST", "/events", [{**EVENT, "user_id": user}] * 3)
            (claim,) = await gateway.store.summaries.claim(1)
            return claim.pending[0].trace

    assert await stored("a") is None
    assert await stored("b", tracing=TracingSettings(endpoint=collector.url, sample_ratio=0)) is None
    assert collector.spans == []
    assert len(await stored("c", tracing=TracingSettings(endpoint=collector.url)) or "") == 48


async def test_health_checks_are_no_traces(open_gateway: OpenGateway, collector: Collector) -> None:
    async with open_gateway(tracing=TracingSettings(endpoint=collector.url)) as gateway:
        for path in ("/healthz", "/readyz", "/metrics"):
            assert "traceresponse" not in (await gateway.ask("GET", path)).headers
        await gateway.ask("GET", "/users/u")
    assert [one.name for one in collector.spans] == ["GET /users/{user_id}"]


async def test_a_collector_that_is_gone_fails_no_request(
    open_gateway: OpenGateway, logs: list[MutableMapping[str, Any]]
) -> None:
    async with open_gateway(tracing=TracingSettings(endpoint="http://127.0.0.1:9")) as gateway:
        assert (await gateway.ask("POST", "/events", EVENT)).status_code == 202
    assert "traces_not_sent" in {line["event"] for line in logs}


def test_a_collector_without_opentelemetry_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    settings = Settings(tracing=TracingSettings(endpoint="http://127.0.0.1:4318"))
    with pytest.raises(UserError, match=r"pip install 'tastestream\[tracing\]'"):
        open_tracer(settings, "gateway")
    assert open_tracer(Settings(), "gateway") is None


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8), st.booleans())
def test_a_place_survives_its_header(trace: bytes, span_id: bytes, sampled: bool) -> None:
    place = Place(trace.hex(), span_id.hex(), sampled)
    assert from_traceparent(place.traceparent) == (place if any(trace) and any(span_id) else None)
    assert from_store(place.trace_id + place.span_id) == place._replace(sampled=True)


@pytest.mark.parametrize(
    "header",
    [
        "",
        f"00-{TRACE_ID}-{CALLER}",
        f"ff-{TRACE_ID}-{CALLER}-01",
        f"00-{TRACE_ID.upper()}-{CALLER}-01",
        f"00-{TRACE_ID}-{CALLER}-01-more",
        f"00-{TRACE_ID[1:]}-{CALLER}-01",
    ],
)
def test_a_header_that_is_not_valid_is_ignored(header: str) -> None:
    assert from_traceparent(header) is None


def test_a_later_version_may_say_more() -> None:
    assert from_traceparent(f"01-{TRACE_ID}-{CALLER}-03-more") == (TRACE_ID, CALLER, True)


def test_without_a_trace_a_span_is_nothing() -> None:
    with span("step") as one:
        assert one is None
        assert to_store() is None
