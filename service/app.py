"""The gateway: settings -> store, engines, pictures -> routers. There is no global state."""

import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from service import logs
from service.events.endpoints import events_router
from service.events.schemas import CloudEventIn, EventBatchIn, EventIn
from service.events.webhook import webhook_router
from service.heap import freeze_heap
from service.http import openapi, problems
from service.http.admission import Admission
from service.http.audit import Audit
from service.http.auth import ApiKeys, KeyRing, require_keys
from service.http.body_limit import BodyLimit
from service.http.compression import DecompressBodies
from service.http.connection import bounded_http
from service.http.cors import Cors
from service.http.hosts import TrustedHosts
from service.http.key_reload import KeyReload
from service.http.middleware import EncodedPaths, Telemetry
from service.http.pressure import Pressure
from service.http.rates import RateLimits
from service.http.routes import PlainRoutes
from service.items.endpoints import items_router
from service.items.schemas import ItemBatchIn, ItemIn, NamedItemIn
from service.metrics import Metrics
from service.metrics.shared import Shared
from service.operations import Probes, operations_router
from service.recommend.endpoints import recommend_router
from service.recommend.ranker import Ranker
from service.recommend.schemas import RecommendIn
from service.settings import Settings
from service.state.store import Store
from service.tenants import Tenants
from service.tracing import Tracer, open_tracer
from service.users.endpoints import users_router

_DRAIN_S = 10
_KEEP_ALIVE_S = 75
"""Longer than load balancers keep idle connections (usually 60 s). If they close first, no request is lost."""
_STARTUP_FAILURE = 3
_RAW_BODIES = (EventIn, EventBatchIn, CloudEventIn, ItemIn, NamedItemIn, ItemBatchIn, RecommendIn)
DESCRIPTION = """Online recommendations by a multimodal LLM that follows what each user wants now.

Errors are RFC 9457 problems with a stable `code`. In addition to its own errors, any call may return
`malformed_request` (400), `not_found` (404), `method_not_allowed` (405), `headers_timeout` (408),
`headers_too_large` (431), `overloaded` (429) or `internal_error` (500). `429` and `503` carry `Retry-After`."""


def create_app(
    settings: Settings, *, metrics: Metrics | None = None, store: Store | None = None, ranker: Ranker | None = None
) -> FastAPI:
    """The ASGI application. It connects to Redis and the model servers on first use.

    Args:
        metrics: the series to use; by default, new ones.
        store, ranker: replace those of the settings, and are closed with the application.

    Raises:
        NotReady: the settings name no Redis.
        ManifestError: the settings name a model version that is not in the store.
        UserError: the picture folder can't be used, the file of API keys has none or a wrong line, or OpenTelemetry or
            the client of Qdrant is not installed and needed.
        OSError: the file of API keys can't be read.
    """
    metrics = metrics or Metrics()
    metrics.show_limits(settings.state)
    tracer = open_tracer(settings, "gateway")
    file, names = settings.api_keys_file, settings.tenant_names
    metrics.show_tenants(names)
    keys = KeyReload(file, names, metrics) if file else None
    limits = settings.limits
    pressure = Pressure(limits.max_loop_lag_s, metrics)
    tenants = Tenants(settings, metrics, pressure, store, ranker)
    metrics.watch_retries("redis", tenants.store.retries)
    chosen = tenants.chosen(keys=keys is not None)
    stores = {name: tenant.store for name, tenant in tenants.named.items()}
    probes = Probes(stores, metrics, tenants.rankers, tenants.summarizers.values())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for opened in (tracer, tenants, probes, keys, pressure):
                if opened is not None:
                    stack.push_async_callback(opened.close)
            if keys is not None:
                keys.start()
            pressure.start()
            await tenants.start()
            yield

    app = FastAPIOffline(
        title="Tastestream",
        version="0.1.0",
        description=DESCRIPTION,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    catalogues, stored = chosen.map(lambda tenant: tenant.catalogue), chosen.map(lambda tenant: tenant.store)
    recommenders = chosen.map(lambda tenant: tenant.recommender)
    for router in (
        events_router(chosen.map(lambda tenant: tenant.ingest), limits),
        webhook_router(settings.webhook_origins, settings.webhook_rate),
        recommend_router(recommenders, settings.recommend, limits, metrics, pressure),
        items_router(catalogues, chosen.map(lambda tenant: tenant.shelf), limits),
        users_router(stored.map(lambda store: store.users)),
        operations_router(probes),
    ):
        # `include_router` would build every route a second time, which took half of this function's time.
        app.router.routes.extend(router.routes)
    problems.install(app)
    bounds: openapi.Bounds = {
        (EventBatchIn, "events"): limits.batch_events,
        (ItemBatchIn, "items"): limits.bulk_items,
        (RecommendIn, "k"): limits.max_k,
        (RecommendIn, "candidates"): limits.candidates,
    }
    openapi.install(app, _RAW_BODIES, bounds, keys=keys is not None)
    app.state.pressure, app.state.rollouts = pressure, tenants.rollouts
    _add_middleware(app, settings, metrics, pressure, keys.ring if keys else None, tracer)
    return app


def _add_middleware(
    app: FastAPI,
    settings: Settings,
    metrics: Metrics,
    pressure: Pressure,
    keys: KeyRing | None,
    tracer: Tracer | None,
) -> None:
    """The last one added is the first to see a request."""
    app.add_middleware(PlainRoutes, fastapi=app)
    app.add_middleware(BodyLimit, limits=settings.limits, metrics=metrics)
    app.add_middleware(DecompressBodies)
    several = {"several_tenants": len(settings.tenant_names) > 1}
    app.add_middleware(Admission, limits=settings.limits, metrics=metrics, pressure=pressure, **several)
    if keys is not None:
        app.add_middleware(ApiKeys, ring=keys, rates=RateLimits(settings.limits, time.monotonic))
    app.add_middleware(Audit)
    app.add_middleware(EncodedPaths)
    if settings.trusted_hosts or keys is None:
        app.add_middleware(TrustedHosts, names=settings.trusted_hosts)
    if settings.cors_origins:
        app.add_middleware(Cors, origins=settings.cors_origins)
    app.add_middleware(Telemetry, metrics=metrics, tracer=tracer, log_all=settings.log_requests == "all")


@dataclass(frozen=True)
class OneOfSeveral:
    """What a process shares with the others that serve the same port.

    Args:
        sockets: what it listens on.
        alive: called once a second while it serves.
    """

    sockets: list[socket.socket]
    metrics: Shared
    alive: Callable[[], None]


def run_gateway(settings: Settings, together: OneOfSeveral | None = None) -> None:
    """Serve until SIGINT or SIGTERM, alone or `together` with other processes.

    Raises:
        NotReady, UserError: the settings name no Redis, name a model, a folder or keys that do not exist, or would
            serve other machines without keys.
        OSError: the file of API keys can't be read.
    """
    require_keys(settings)
    logs.configure(json=settings.log_json)
    config = server_config(settings, together)
    server = uvicorn.Server(config)
    freeze_heap()
    with suppress(KeyboardInterrupt):
        server.run(together.sockets if together else None)
    if not server.started:
        sys.exit(_STARTUP_FAILURE)


def server_config(settings: Settings, together: OneOfSeveral | None = None) -> uvicorn.Config:
    """The HTTP server and its application; raises the errors of `create_app`."""
    metrics = Metrics(together.metrics if together else None)

    async def every_second() -> None:
        if together is not None:
            metrics.refresh()
            together.alive()

    return uvicorn.Config(
        create_app(settings, metrics=metrics),
        host=settings.host,
        port=settings.port,
        http=bounded_http(settings.limits, metrics),
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_DRAIN_S,
        timeout_notify=1,
        callback_notify=every_second if together else None,
    )
