"""A server of embedders that tests control, and a model store with versions of one.

Version n makes vectors of the dimensions 2n and 2n + 1 only: a query of one version scores 0 with all vectors of
another.
"""

import asyncio
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from model_store.prompts import BUILT_IN
from model_store.registry.manifest import Embedding, Manifest
from model_store.registry.registry import Registry
from service.settings import Settings
from service.settings.engines import EmbedderSettings

NAME, DIMENSIONS = "shop-embedder", 8


def version(number: int) -> str:
    return f"{NAME}@{number}"


def vector(number: int, title: str) -> list[float]:
    """What version `number` makes of a title such as `film 7`; near numbers have near vectors."""
    angle = int("0" + "".join(filter(str.isdigit, title))) / 100
    numbers = [0.0] * DIMENSIONS
    numbers[2 * number % DIMENSIONS], numbers[(2 * number + 1) % DIMENSIONS] = math.cos(angle), math.sin(angle)
    return numbers


def model_store(root: Path, *numbers: int) -> Registry:
    """Versions with these numbers, of which the first is production."""
    registry, weights = Registry(root), root.parent / "weights"
    weights.mkdir(parents=True)
    (weights / "config.json").write_text("{}")
    for number in numbers:
        registry.reserve(NAME)
        embedding = Embedding(kind="direct", dimensions=DIMENSIONS)
        manifest = Manifest(name=NAME, version=number, role="embedder", embedding=embedding)
        registry.add(manifest, BUILT_IN / "embed", weights)
    registry.promote(NAME, numbers[0])
    return registry


def asking(settings: Settings, url: str, registry: Registry, **embedder: Any) -> Settings:
    """The settings with the embedder of `registry`, asked at `url`."""
    own = EmbedderSettings(url=url, version=NAME, check_every_s=0.05, timeout_s=10, **embedder)
    return settings.model_copy(update={"embedder": own, "model_store": str(registry.root)})


@dataclass
class EmbedServer:
    """Answers as vLLM for the versions that it `serves`; `status` by a word of the item, 200 for all others."""

    serves: list[str] = field(default_factory=lambda: [version(1)])
    status: dict[str, int] = field(default_factory=dict)
    down: bool = False
    broken: set[str] = field(default_factory=set)
    """Versions that are listed, but answer nothing."""
    rejects: set[str] = field(default_factory=set)
    """Versions that reject all items."""
    answering: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.answering.set()

    def app(self) -> Starlette:
        embeddings = Route("/v1/embeddings", self._embeddings, methods=["POST"])
        return Starlette(routes=[Route("/health", self._health), Route("/v1/models", self._models), embeddings])

    async def _health(self, request: Request) -> Response:
        return Response(status_code=503 if self.down else 200)

    async def _models(self, request: Request) -> Response:
        return JSONResponse({"data": [{"id": name} for name in self.serves]}, 503 if self.down else 200)

    async def _embeddings(self, request: Request) -> Response:
        body: dict[str, Any] = await request.json()
        await self.answering.wait()
        content = next(turn["content"] for turn in body["messages"] if turn["role"] == "user")
        text = next(part["text"] for part in content if part["type"] == "text")
        self.asked.append((body["model"], text))
        if body["model"] in self.broken:
            return JSONResponse({"error": {"message": "no"}}, 503)
        if body["model"] in self.rejects:
            return JSONResponse({"error": {"message": "no"}}, 400)
        failing = next((status for word, status in self.status.items() if word in text), 503 if self.down else 200)
        if failing != 200:
            return JSONResponse({"error": {"message": "no"}}, failing)
        number = int(body["model"].partition("@")[2])
        return JSONResponse({"data": [{"embedding": vector(number, text)}]})
