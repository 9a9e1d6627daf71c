"""The gateway: settings -> store -> engines -> routers. Nothing here is global."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from model_store.errors import UserError
from service import logs
from service.events.endpoints import router as events
from service.events.webhook import router as webhook
from service.heap import freeze_heap
from service.http import openapi, problems
from service.http.admission import Admission
from service.http.auth import ApiKeys
from service.http.body_limit import BodyLimit
from service.http.compression import DecompressBodies
from service.http.connection import bounded_http
from service.http.cors import Cors
from service.http.hosts import TrustedHosts, is_loopback
from service.http.middleware import EncodedPaths, Telemetry
from service.http.routes import PlainRoutes
from service.items.endpoints import router as items
from service.metrics import Metrics
from service.operations import router as health
from service.parts import open_parts, set_parts
from service.recommend.endpoints import router as recommend
from service.recommend.ranker import Ranker
from service.settings import Settings
from service.users.endpoints import router as users

_DRAIN_S = 10
_KEEP_ALIVE_S = 75
"""Longer than load balancers keep idle connections (60 s is usual), so that they close first and lose no request."""
_STARTUP_FAILURE = 3
DESCRIPTION = """Online recommendations by a multimodal LLM that follows what each user wants now.

Errors are RFC 9457 problems with a stable `code`. Beside those listed with it, any call may be answered with
`malformed_request` (400), `not_found` (404), `method_not_allowed` (405), `headers_timeout` (408),
`headers_too_large` (431), `overloaded` (429) or `internal_error` (500). `429` and `503` carry `Retry-After`."""


def create_app(settings: Settings, *, metrics: Metrics | None = None, ranker: Ranker | None = None) -> FastAPI:
    """The ASGI application. Its lifespan connects to Redis and the model servers.

    Args:
        metrics: series to count into; by default, new ones.
        ranker: stands in for the one that the settings name.

    Raises:
        UserError: the file of API keys holds none.
        OSError: it can't be read.
    """
    metrics = metrics or Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_parts(settings, metrics, ranker) as parts:
            set_parts(app, parts)
            yield

    keys = read_keys(settings.api_keys_file) if settings.api_keys_file else None
    app = FastAPIOffline(
        title="Tastestream",
        version="0.1.0",
        description=DESCRIPTION,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    for router in (events, webhook, recommend, items, users, health):
        app.include_router(router)
    problems.install(app)
    openapi.install(app, settings.limits, keys=keys is not None)
    # The last one added is the first to see a request.
    app.add_middleware(PlainRoutes, fastapi=app)
    app.add_middleware(BodyLimit, limits=settings.limits, metrics=metrics)
    app.add_middleware(DecompressBodies)
    app.add_middleware(Admission, limits=settings.limits, metrics=metrics)
    if keys is not None:
        app.add_middleware(ApiKeys, keys=keys)
    app.add_middleware(EncodedPaths)
    if settings.trusted_hosts or keys is None:
        app.add_middleware(TrustedHosts, names=settings.trusted_hosts)
    if settings.cors_origins:
        app.add_middleware(Cors, origins=settings.cors_origins)
    app.add_middleware(Telemetry, metrics=metrics, log_all=settings.log_requests == "all")
    return app


def read_keys(file: Path) -> list[str]:
    """The API keys of `file`, one a line; blank lines and lines that begin with # are left out.

    Raises:
        UserError: there is none.
        OSError: the file can't be read.
    """
    lines = (line.strip() for line in file.read_text("utf-8").splitlines())
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise UserError(f"{file} holds no API key")
    return keys


def require_keys(settings: Settings) -> None:
    """Let nobody serve other machines without API keys by accident.

    Raises:
        UserError: the host is not this machine's own, there are no keys, and the settings don't say `insecure`.
    """
    if settings.api_keys_file is None and not settings.insecure and not is_loopback(settings.host):
        raise UserError(
            f"TASTESTREAM_HOST={settings.host} lets other machines in, and there are no API keys: anyone could read "
            "and delete users. Set TASTESTREAM_API_KEYS_FILE, or pass --insecure if the network is closed"
        )


def run_gateway(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        NotReady, UserError: the settings name no Redis, or a model, a folder or keys that are not there, or would
            serve other machines without keys.
        OSError: the file of API keys can't be read.
    """
    require_keys(settings)
    logs.configure(json=settings.log_json)
    asyncio.run(_try_parts(settings))
    server = uvicorn.Server(server_config(settings))
    freeze_heap()
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(_STARTUP_FAILURE)


async def _try_parts(settings: Settings) -> None:
    """Nothing is connected to yet. What is wrong with the settings is told here; uvicorn would print a traceback."""
    async with open_parts(settings, Metrics(), None):
        pass


def server_config(settings: Settings) -> uvicorn.Config:
    """The HTTP server and the application that it serves.

    Raises:
        UserError, OSError: as `create_app`.
    """
    metrics = Metrics()
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
    )
