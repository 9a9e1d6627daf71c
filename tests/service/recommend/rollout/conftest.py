"""A model store with two versions of a ranker, a server for each, and a gateway that follows promotions."""

from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from model_store.item_models.item_models import ItemModels
from model_store.item_models.item_vectors import ItemVectors
from model_store.item_models.item_weights import ItemWeights
from model_store.prompts import BUILT_IN
from model_store.registry.manifest import Blend, Manifest
from model_store.registry.registry import Registry
from service.settings.engines import RankerSettings
from service.settings.recommend import RecommendSettings
from tests.service.conftest import Gateway, OpenGateway
from tests.service.recommend.asking import fill
from tests.service.serving import ModelServer, serving

FOLLOW_S = 0.05
CANDIDATES = ["tea", "pan", "hat"]


class Models:
    """A model store with `ranker@1` in production and `ranker@2`, a server for each, and a gateway that follows."""

    def __init__(self, folder: Path, weights: Path) -> None:
        self.folder = folder
        self.registry = Registry(folder)
        self.servers = {number: ModelServer(serves=[f"ranker@{number}"]) for number in (1, 2)}
        self.urls: dict[int, str] = {}
        pot_to_hat = ItemWeights(("hat", "pot"), array("I", [0, 1, 1]), array("I", [1]), array("f", [3.0]))
        tea_like_pot = ItemVectors(("tea", "pot"), array("f", [0.5, 1.0]), array("f", [1.0]))
        models = ItemModels(pot_to_hat, tea_like_pot)
        own = {1: {}, 2: self.registry.write_item_models("ranker", 2, models)}
        for number, blend in (1, Blend(collaborative=0.5)), (2, Blend(mllm=2.0, item_weights=1.0)):
            manifest = Manifest(name="ranker", version=number, role="ranker", blend=blend, **own[number])
            self.registry.add(manifest, BUILT_IN / "compact", weights)
        self.registry.promote("ranker", 1)

    def canary(self, share: float = 1.0, **more: Any) -> None:
        self.registry.promote("ranker", 2, "canary", share=share, **{"urls": [self.urls[2]], **more})


@pytest.fixture
async def models(tmp_path: Path) -> AsyncIterator[Models]:
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(b"")
    models = Models(tmp_path / "models", weights)
    async with AsyncExitStack() as stack:
        for number, server in models.servers.items():
            models.urls[number] = await stack.enter_async_context(serving(server.app()))
        yield models


Follow = Callable[..., Any]


@pytest.fixture
def following(open_gateway: OpenGateway, models: Models) -> Follow:
    """Opens a gateway that follows `models`."""

    @asynccontextmanager
    async def opened(*, recommend: dict[str, Any] | None = None, **ranker: Any) -> AsyncIterator[Gateway]:
        given = {"url": models.urls[1], "version": "ranker@production", "allowed_urls": ("http://127.0.0.1",), **ranker}
        settings = RankerSettings(**given, follow_every_s=FOLLOW_S, timeout_s=60.0, connect_timeout_s=20.0)
        asked = RecommendSettings(**{"deadline_ms": 30_000, **(recommend or {})})
        async with open_gateway(ranker=settings, model_store=models.folder, recommend=asked) as gateway:
            await fill(gateway, *CANDIDATES)
            yield gateway

    return opened


@pytest.fixture
async def gateway(following: Follow) -> AsyncIterator[Gateway]:
    async with following() as gateway:
        yield gateway
