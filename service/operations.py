"""`/healthz`, `/readyz`, `/metrics`: for those who run the service."""

import asyncio
from dataclasses import asdict, dataclass
from typing import Literal

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from service.errors import NotReady, StateUnavailable
from service.http.problems import documented
from service.http.wire import Json
from service.metrics import Metrics
from service.recommend.ranker import Server
from service.shared_probe import SharedProbe
from service.state.store import Store

Condition = Literal["ok", "down", "not_configured"]
_PROBE_TIMEOUT_S = 2.0


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


class Probes:
    """The state of what the gateway depends on: asked at most once a second, however many callers want to know.

    Args:
        ranker, summarizer: the model servers, None where the settings name none.
    """

    def __init__(self, store: Store, metrics: Metrics, ranker: Server | None, summarizer: Server | None) -> None:
        self._store = store
        self._metrics = metrics
        self.redis = SharedProbe(self._redis_answers)
        self.ranker = SharedProbe(lambda: _condition(ranker))
        self.summarizer = SharedProbe(lambda: _condition(summarizer))
        self.metrics = SharedProbe(self._metrics_page)

    async def close(self) -> None:
        for probe in (self.redis, self.ranker, self.summarizer, self.metrics):
            probe.cancel()

    async def _redis_answers(self) -> bool:
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT_S):
                await self._store.ping()
        except (StateUnavailable, TimeoutError):
            return False
        return True

    async def _metrics_page(self) -> bytes:
        # A gateway shows the gauges of the shared queue, too, for workers need have no port of their own.
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT_S):
                self._metrics.show_waiting(await self._store.waiting())
        except (StateUnavailable, TimeoutError):
            self._metrics.redis_up.set(0)
        return generate_latest(self._metrics.registry)


async def _condition(server: Server | None) -> Condition:
    if server is None:
        return "not_configured"
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT_S):
            return "ok" if await server.healthy() else "down"
    except TimeoutError:
        return "down"


def operations_router(probes: Probes) -> APIRouter:
    """The routes for load balancers, orchestrators and Prometheus."""
    router = APIRouter(tags=["operations"])

    # HEAD is what some balancers ask with.
    @router.head("/healthz", include_in_schema=False)
    @router.get("/healthz", summary="Is the process alive?", response_model=Health)
    async def healthz() -> Response:
        return Json(Health())

    @router.head("/readyz", include_in_schema=False)
    @router.get("/readyz", summary="Can it serve?", response_model=Readiness, responses=documented(NotReady))
    async def readyz() -> Response:
        """Ready when Redis answers. Without a model server it is ready, too, but degraded. At most a second old."""
        redis, ranker, summarizer = await asyncio.gather(probes.redis(), probes.ranker(), probes.summarizer())
        if not redis:
            seen = asdict(Readiness("unavailable", "down", ranker, summarizer))
            seen["readiness"] = seen.pop("status")
            raise NotReady("Redis does not answer", retry_after_s=1, extensions=seen)
        status: Literal["ready", "degraded"] = "ready" if ranker == summarizer == "ok" else "degraded"
        return Json(Readiness(status, "ok", ranker, summarizer))

    @router.get(
        "/metrics",
        summary="Prometheus series",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        """All series of the process and of the queue that all share, at most a second old."""
        return Response(await probes.metrics(), headers={"content-type": CONTENT_TYPE_LATEST})

    return router
