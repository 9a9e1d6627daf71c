"""`/healthz`, `/readyz`, `/metrics`: for those who run the service."""

import asyncio
from dataclasses import asdict, dataclass
from typing import Literal

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from service.errors import NotReady, StateUnavailable
from service.http.problems import documented
from service.http.wire import Json
from service.parts import Parts, parts_of
from service.recommend.ranker import Server

router = APIRouter(tags=["operations"])

_LOOK_S = 2.0
Condition = Literal["ok", "down", "not_configured"]


@dataclass(frozen=True, slots=True)
class Health:
    status: Literal["ok"] = "ok"


@dataclass(frozen=True, slots=True)
class Readiness:
    """`degraded`: recommendations are answered without the model, or summaries are not rewritten."""

    status: Literal["ready", "degraded", "unavailable"]
    redis: Literal["ok", "down"]
    ranker: Condition
    summarizer: Condition


# HEAD is what some balancers ask with.
@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", summary="Is the process alive?", response_model=Health)
async def healthz() -> Response:
    return Json(Health())


@router.head("/readyz", include_in_schema=False)
@router.get(
    "/readyz",
    summary="Can it serve?",
    response_model=Readiness,
    responses=documented(NotReady),
)
async def readyz(request: Request) -> Response:
    """Ready when Redis answers. Without a model server it is ready, too, but degraded."""
    parts = parts_of(request)
    redis, ranker, summarizer = await asyncio.gather(
        _redis_answers(parts), _condition(parts.ranker), _condition(parts.summarizer)
    )
    if not redis:
        seen = asdict(Readiness("unavailable", "down", ranker, summarizer))
        seen["readiness"] = seen.pop("status")
        raise NotReady("Redis does not answer", retry_after_s=1, members=seen)
    status: Literal["ready", "degraded"] = "ready" if ranker == summarizer == "ok" else "degraded"
    return Json(Readiness(status, "ok", ranker, summarizer))


@router.get(
    "/metrics",
    summary="Prometheus series",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    parts = parts_of(request)
    await _look_at_queue(parts)
    return Response(generate_latest(parts.metrics.registry), headers={"content-type": CONTENT_TYPE_LATEST})


async def _redis_answers(parts: Parts) -> bool:
    try:
        async with asyncio.timeout(_LOOK_S):
            await parts.store.ping()
    except (StateUnavailable, TimeoutError):
        return False
    return True


async def _condition(server: Server | None) -> Condition:
    if server is None:
        return "not_configured"
    try:
        async with asyncio.timeout(_LOOK_S):
            return "ok" if await server.healthy() else "down"
    except TimeoutError:
        return "down"


async def _look_at_queue(parts: Parts) -> None:
    """Set the gauges of the shared queue: a gateway shows them, too, for workers need have no port of their own."""
    try:
        async with asyncio.timeout(_LOOK_S):
            parts.metrics.show_waiting(await parts.store.waiting())
    except (StateUnavailable, TimeoutError):
        parts.metrics.redis_up.set(0)
