"""`/healthz`, `/readyz`, `/metrics`: for those who run the service."""

import asyncio
from dataclasses import asdict, dataclass
from typing import Literal

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service.errors import NotReady
from service.http.problems import documented
from service.http.wire import Json
from service.looks import Condition
from service.parts import parts_of

router = APIRouter(tags=["operations"])


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
    """Ready when Redis answers. Without a model server it is ready, too, but degraded. At most a second old."""
    looks = parts_of(request).looks
    redis, ranker, summarizer = await asyncio.gather(looks.redis(), looks.ranker(), looks.summarizer())
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
    """All series of the process and of the queue that all share, at most a second old."""
    return Response(await parts_of(request).looks.metrics(), headers={"content-type": CONTENT_TYPE_LATEST})
