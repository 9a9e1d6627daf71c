"""Raw connections to a gateway on its own HTTP server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import orjson

GET = b"GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n"
EVENT = b'{"user_id":"u","item_id":"i"}'
WITHIN_S = 60
OpenServer = Callable[..., AbstractAsyncContextManager["Server"]]


class Caller:
    """One raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[int, dict[str, Any]]:
        """Status and JSON of the next response."""
        async with asyncio.timeout(WITHIN_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            length = int(head.lower().partition("content-length: ")[2].split("\r\n")[0])
            return int(head.split()[1]), orjson.loads(await self.reader.readexactly(length))

    async def ended(self) -> bytes:
        """The bytes that arrive until the server closes."""
        async with asyncio.timeout(WITHIN_S):
            return await self.reader.read()


class Server:
    """A gateway with its own HTTP server."""

    def __init__(self, url: str) -> None:
        self.url = url

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Caller]:
        host, _, port = self.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            yield Caller(reader, writer)
        finally:
            writer.close()

    async def count(self, series: str) -> float:
        async with httpx.AsyncClient() as client:
            lines = (await client.get(f"{self.url}/metrics")).text.splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(f"{series} ")), 0.0)
