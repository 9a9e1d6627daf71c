"""Real sockets for the tests: ASGI applications served on a free local port, and a model server that tests control."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from tests.http_server import HttpServer

VERSION = "ranker@1"


async def until(condition: Callable[[], bool], within_s: float = 300.0) -> None:
    """Return when `condition` is true."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - the condition may depend on another process
            await asyncio.sleep(0.005)


@asynccontextmanager
async def serving(app: ASGIApp, host: str = "127.0.0.1", **more: Any) -> AsyncIterator[str]:
    """Serve `app` in this event loop; yields the URL of its root. `more` goes to `uvicorn.Config`."""
    config = uvicorn.Config(
        app, host=host, port=0, log_config=None, access_log=False, timeout_graceful_shutdown=1, **more
    )
    async with running(config) as url:
        yield url


@asynccontextmanager
async def running(config: uvicorn.Config) -> AsyncIterator[str]:
    """Run the server of `config` in this event loop; yields the URL of its root."""
    server = HttpServer(config)
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


@dataclass
class ModelServer:
    """Speaks the part of vLLM's protocol that ranking needs. `scores` maps a word of a candidate to its score."""

    scores: dict[str, float] = field(default_factory=dict)
    default: float = 0.5
    status: int = 200
    answering: asyncio.Event = field(default_factory=asyncio.Event)
    requests: list[dict[str, Any]] = field(default_factory=list)
    abandoned: int = 0
    listed: int = 0
    usage: dict[str, int] | None = None
    serves: list[str] = field(default_factory=lambda: [VERSION])

    def __post_init__(self) -> None:
        self.answering.set()

    def app(self) -> Starlette:
        routes = [
            Route("/health", self._health),
            Route("/v1/models", self._models),
            Route("/score", self._score, methods=["POST"]),
        ]
        return Starlette(routes=routes)

    async def _health(self, request: Request) -> Response:
        return Response(status_code=self.status)

    async def _models(self, request: Request) -> Response:
        self.listed += 1
        return JSONResponse({"data": [{"id": name} for name in self.serves]})

    async def _score(self, request: Request) -> Response:
        body = await request.json()
        self.requests.append(body)
        answering = asyncio.ensure_future(self.answering.wait())
        leaving = asyncio.ensure_future(request.receive())
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            self.abandoned += 1
        answering.cancel()
        leaving.cancel()
        if self.status != 200:
            return JSONResponse({"error": {"message": "not now"}}, self.status)
        data = [{"index": index, "score": self._of(one)} for index, one in enumerate(body["documents"])]
        return JSONResponse({"data": data, **({"usage": self.usage} if self.usage else {})})

    def _of(self, document: Any) -> float:
        words = document if isinstance(document, str) else document["content"][-1]["text"]
        return next((score for word, score in self.scores.items() if word in words), self.default)
