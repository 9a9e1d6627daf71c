"""A gateway in this process, on an empty Redis."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from model_store.prompts import BUILT_IN
from model_store.registry.manifest import Blend, Manifest
from model_store.registry.registry import Registry
from service.app import create_app
from service.http.connection import bounded_http
from service.metrics import Metrics
from service.recommend.ranker import Ranker
from service.settings import Settings
from service.settings.engines import RankerSettings
from service.settings.recommend import RecommendSettings
from service.settings.state import StateSettings
from service.state.store import Store
from tests.service.serving import VERSION, ModelServer, serving

BLEND = Blend(collaborative=0.5)
PATIENT = StateSettings(redis_timeout_s=20.0)
UNHURRIED = RecommendSettings(deadline_ms=30_000)
"""Responses are late only when a test delays them, even on a busy machine."""
OpenGateway = Callable[..., AbstractAsyncContextManager["Gateway"]]


class Gateway:
    """The application and a client of it."""

    def __init__(
        self, app: FastAPI, client: httpx.AsyncClient, settings: Settings, metrics: Metrics, store: Store
    ) -> None:
        self.app = app
        self.client = client
        self.settings = settings
        self.metrics = metrics
        self.store = store

    async def ask(self, method: str, path: str, json: Any = None, **more: Any) -> httpx.Response:
        if json is not None:
            more["json"] = json
        return await self.client.request(method, path, **more)

    def on_a_socket(self) -> AbstractAsyncContextManager[str]:
        """Serves the gateway, which runs already, over its own HTTP/1.1; yields the URL of its root."""
        return serving(self.app, http=bounded_http(self.settings.limits, self.metrics), lifespan="off")

    def count(self, series: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(series, labels) or 0.0


@asynccontextmanager
async def gateway_on(
    settings: Settings, *, metrics: Metrics | None = None, ranker: Ranker | None = None
) -> AsyncIterator[Gateway]:
    metrics, store = metrics or Metrics(), Store(settings)
    app = create_app(settings, metrics=metrics, store=store, ranker=ranker)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=transport, base_url="http://t", headers={"content-type": "application/json"}
        ) as client,
    ):
        yield Gateway(app, client, settings, metrics, store)


@pytest.fixture
def open_gateway(redis_url: str, tmp_path: Path) -> OpenGateway:
    """Opens a gateway with the given settings, in addition to Redis and the data folder."""

    def opened(**settings: Any) -> AbstractAsyncContextManager[Gateway]:
        given = {"redis_url": redis_url, "data_dir": tmp_path, "state": PATIENT, "recommend": UNHURRIED, **settings}
        return gateway_on(Settings(**given))

    return opened


@pytest.fixture
async def gateway(open_gateway: OpenGateway) -> AsyncIterator[Gateway]:
    """A gateway without model servers."""
    async with open_gateway() as gateway:
        yield gateway


@pytest.fixture
def model_store(tmp_path: Path) -> Path:
    """A model store with the version `ranker@1`."""
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(b"")
    manifest = Manifest(name="ranker", version=1, role="ranker", blend=BLEND)
    Registry(tmp_path / "models").add(manifest, BUILT_IN / "compact", weights)
    return tmp_path / "models"


@pytest.fixture
async def model() -> ModelServer:
    return ModelServer()


@pytest.fixture
def open_ranked(open_gateway: OpenGateway, model_store: Path) -> OpenGateway:
    """Opens a gateway whose ranker asks the server at a URL."""

    def opened(url: str, **settings: Any) -> AbstractAsyncContextManager[Gateway]:
        ranker = RankerSettings(url=url, version=VERSION, timeout_s=60.0, connect_timeout_s=20.0)
        return open_gateway(**{"ranker": ranker, "model_store": model_store, **settings})

    return opened


@pytest.fixture
async def ranked(open_ranked: OpenGateway, model: ModelServer) -> AsyncIterator[Gateway]:
    """A gateway whose ranker asks `model` over HTTP."""
    async with serving(model.app()) as url, open_ranked(url) as gateway:
        yield gateway
