"""`/healthz`, `/readyz` and `/metrics`: health and metrics of the gateway."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Generic, Literal, Protocol, TypeVar

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service.errors import NotReady, StateUnavailable
from service.http.problems import documented
from service.http.wire import Json
from service.metrics import Metrics
from service.metrics.look import look_at
from service.state.store import Store

T = TypeVar("T")
Condition = Literal["ok", "down", "not_configured"]
FRESH_S = 1.0
"""The maximum age of a result."""
_PROBE_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Health:
    status: Literal["ok"] = "ok"


@dataclass(frozen=True, slots=True)
class Readiness:
    """`degraded`: recommendations come without the model, or summaries are not rewritten."""

    status: Literal["ready", "degraded", "unavailable"]
    redis: Literal["ok", "down"]
    ranker: Condition
    summarizer: Condition


class Server(Protocol):
    """A model server."""

    async def healthy(self) -> bool: ...


class SharedProbe(Generic[T]):
    """The result of `probe`, at most `FRESH_S` old. Concurrent callers wait for the same result."""

    def __init__(self, probe: Callable[[], Awaitable[T]]) -> None:
        self._probe = probe
        self._task: asyncio.Task[T] | None = None
        self._fresh_until = 0.0

    async def __call__(self) -> T:
        now = asyncio.get_running_loop().time()
        if self._task is None or (self._task.done() and now >= self._fresh_until):
            self._task = asyncio.create_task(self._run())
        # One caller that leaves must not cancel the probe for the others.
        return await asyncio.shield(self._task)

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> T:
        result = await self._probe()
        self._fresh_until = asyncio.get_running_loop().time() + FRESH_S
        return result


class Probes:
    """The state of the gateway's dependencies. Each is asked at most once a second, however many callers there are.

    Args:
        stores: those of the tenants, by name.
        rankers, summarizers: the model servers of all tenants, None for a tenant that has none.
    """

    def __init__(
        self,
        stores: Mapping[str, Store],
        metrics: Metrics,
        rankers: Collection[Server | None],
        summarizers: Collection[Server | None],
    ) -> None:
        self._stores = stores
        self._metrics = metrics
        self.redis = SharedProbe(self._redis_answers)
        self.ranker = SharedProbe(lambda: _worst(rankers))
        self.summarizer = SharedProbe(lambda: _worst(summarizers))
        self.metrics = SharedProbe(self._metrics_page)

    async def close(self) -> None:
        for probe in (self.redis, self.ranker, self.summarizer, self.metrics):
            probe.cancel()

    async def _redis_answers(self) -> bool:
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT_S):
                await next(iter(self._stores.values())).ping()
        except (StateUnavailable, TimeoutError):
            return False
        return True

    async def _metrics_page(self) -> bytes:
        # The gateway also shows the gauges of the shared queue, because workers need not have a port.
        await look_at(self._stores, self._metrics)
        if not self._metrics.is_shared:
            return self._metrics.page()
        self._metrics.refresh()
        # It reads the files of all processes.
        return await asyncio.to_thread(self._metrics.page)


async def _worst(servers: Collection[Server | None]) -> Condition:
    """The condition of the server that is worst off."""
    found = await asyncio.gather(*map(_condition, servers))
    return next((one for one in ("down", "not_configured") if one in found), "ok")


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

    # Some load balancers send HEAD.
    @router.head("/healthz", include_in_schema=False)
    @router.get("/healthz", summary="Is the process alive?", response_model=Health)
    async def healthz() -> Response:
        return Json(Health())

    @router.head("/readyz", include_in_schema=False)
    @router.get("/readyz", summary="Can it serve?", response_model=Readiness, responses=documented(NotReady))
    async def readyz() -> Response:
        """Ready if Redis answers. Without a model server, `status` is `degraded`. At most a second old."""
        redis, ranker, summarizer = await asyncio.gather(probes.redis(), probes.ranker(), probes.summarizer())
        if not redis:
            state = asdict(Readiness("unavailable", "down", ranker, summarizer))
            state["readiness"] = state.pop("status")
            raise NotReady("Redis does not answer", retry_after_s=1, extensions=state)
        status: Literal["ready", "degraded"] = "ready" if ranker == summarizer == "ok" else "degraded"
        return Json(Readiness(status, "ok", ranker, summarizer))

    @router.get(
        "/metrics",
        summary="Prometheus series",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        """All series of the gateway, of all its processes, and of the shared queue, at most a second old."""
        return Response(await probes.metrics(), headers={"content-type": CONTENT_TYPE_LATEST})

    return router
