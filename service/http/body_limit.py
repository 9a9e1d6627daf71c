"""Bounds on a request's body: its bytes, and the time it takes to arrive."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import BodyTimeout, BodyTooLarge
from service.http.asgi import header

_BODY = "tastestream.body"


class BodyLimit:
    """Raises in whoever reads a body beyond `limit` bytes, announced or not, or one that takes too long.

    A route that reads without keeping may lift both, see `stream_body`. The connection is closed after an answer that
    comes before the end of the body, see `service.http.connection`.

    Raises:
        BodyTooLarge: more than `limit` bytes.
        BodyTimeout: not complete after `timeout_s`.
    """

    def __init__(self, app: ASGIApp, limit: int, timeout_s: float) -> None:
        self.app = app
        self.limit = limit
        self.timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = header(scope, b"content-length")
        body = _Body(receive, self.limit, self.timeout_s, int(announced) if announced.isdecimal() else 0)
        scope[_BODY] = body

        # Not refused here: only a route that reads the body minds its size.
        await self.app(scope, body.receive, send)


class _Body:
    def __init__(self, receive: Receive, limit: int, timeout_s: float, announced: int) -> None:
        self._receive = receive
        self._limit: int | None = limit
        self._timeout_s = timeout_s
        self._announced = announced
        self._ends: float | None = asyncio.get_running_loop().time() + timeout_s
        self._read = 0
        self._complete = False

    def limit(self, limit: int) -> None:
        self._limit = limit if self._limit is None else min(limit, self._limit)

    def stream(self, idle_s: float) -> None:
        self._limit = self._ends = None
        self._timeout_s = idle_s

    async def receive(self) -> Message:
        if self._complete:
            return await self._receive()
        self._check(self._announced)
        ends = asyncio.get_running_loop().time() + self._timeout_s if self._ends is None else self._ends
        try:
            async with asyncio.timeout_at(ends):
                message = await self._receive()
        except TimeoutError:
            raise self._late() from None
        self._read += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        self._check(self._read)
        return message

    def _check(self, size: int) -> None:
        if self._limit is not None and size > self._limit:
            raise BodyTooLarge(f"body: larger than {self._limit} bytes", field="body")

    def _late(self) -> BodyTimeout:
        what = "nothing more for" if self._ends is None else "not here after"
        return BodyTimeout(f"body: {what} {self._timeout_s:g} s", field="body")


def limit_body(scope: Scope, limit: int) -> None:
    """Hold the body to `limit` bytes where this is less than what any body is held to."""
    body: _Body = scope[_BODY]
    body.limit(limit)


def stream_body(scope: Scope, idle_s: float) -> None:
    """Let the rest of the body be of any size and take any time, as long as something comes within `idle_s`."""
    body: _Body = scope[_BODY]
    body.stream(idle_s)
