"""A server that answers like vLLM or as a test wants, on a real socket, from which clients can disconnect."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from tests.http_server import HttpServer

Reply = tuple[int, Any]
Handler = Callable[["Request"], Awaitable[Reply] | Reply]


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: Any
    client: tuple[str, int] = ("", 0)
    disconnected: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class FakeVllm:
    """`replies` overrides what a path answers, `headers` go with it; `requests` holds what was asked."""

    url: str = ""
    model: str = "fake"
    requests: list[Request] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    replies: dict[str, Handler] = field(default_factory=dict)
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    async def crowded(self, count: int) -> None:
        """Wait until so many requests have been in flight at the same time; fails when they don't come."""
        async with asyncio.timeout(60):
            while self.most_in_flight < count:
                self._came.clear()
                await self._came.wait()

    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    def default(self, request: Request) -> Reply:
        if request.path == "/health":
            return 200, ""
        if request.path == "/v1/models":
            return 200, {"data": [{"id": self.model}]}
        if request.path == "/score":
            count = len(request.body["documents"])
            return 200, {"data": [{"index": n, "score": (n + 1) / (count + 1)} for n in range(count)]}
        if request.path == "/classify":
            return 200, {"data": [{"index": 0, "probs": [0.6], "num_classes": 1}]}
        if request.path == "/tokenize":
            return 200, {"tokens": {"yes": [11], "no": [7]}[request.body["prompt"]]}
        if "logprobs" in request.body:
            entries = [{"token": "token_id:11", "logprob": -0.5}, {"token": "token_id:7", "logprob": -1.5}]
            return 200, {"choices": [{"logprobs": {"content": [{"top_logprobs": entries}]}}]}
        return 200, text_answer("A calm harbour.")

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        content = b""
        while (message := await receive())["type"] == "http.request":
            content += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        request = Request(scope["path"], headers, json.loads(content) if content else None, scope["client"])
        self.requests.append(request)
        self.asked.set()
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self._came.set()
        watcher = asyncio.create_task(self._watch(request, receive))
        try:
            reply = self.replies.get(request.path, self.default)(request)
            status, body = await reply if isinstance(reply, Awaitable) else reply
        finally:
            self.in_flight -= 1
        encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
        await send({"type": "http.response.start", "status": status, "headers": self.headers})
        await send({"type": "http.response.body", "body": encoded})
        watcher.cancel()

    async def _watch(self, request: Request, receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        request.disconnected.set()


def text_answer(text: str | None, finish_reason: str = "stop") -> dict[str, Any]:
    return {"choices": [{"finish_reason": finish_reason, "message": {"content": text}}]}


def refusal(message: str) -> dict[str, Any]:
    return {"error": {"message": message}}


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[FakeVllm]:
    fake = FakeVllm()
    config = uvicorn.Config(fake, lifespan="off", log_level="error", ws="none")
    server = HttpServer(config)
    listening = socket.create_server(("127.0.0.1", 0))
    fake.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield fake
    finally:
        server.should_exit = True
        server.force_exit = True
        await serving
