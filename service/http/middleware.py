"""What surrounds every request: its id, its time, its log line, and the limits before its body is read."""

import asyncio
import hmac
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from secrets import token_hex

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import BodyTimeout, BodyTooLarge, InternalError, Overloaded, Unauthorized
from service.http.asgi import ERROR, header, refuse
from service.logs import REQUEST_ID, get_logger
from service.metrics import Metrics

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
"""Answered without an API key and under any load."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_REASON = "tastestream.reason"
_BODY = "tastestream.body"
_LINGER_S = 5.0
"""How long the rest of a body that was answered early is read before its connection is closed."""
log = get_logger(__name__)


class Telemetry:
    """Gives the request an id, measures and logs it, and turns what nobody foresaw into a 500 without details.

    Args:
        log_all: log every request, not only those that went wrong.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, *, log_all: bool = False) -> None:
        self.app = app
        self.metrics = metrics
        self.log_all = log_all
        self.in_flight = 0
        metrics.requests_in_flight.set_function(lambda: self.in_flight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = header(scope, b"x-request-id")
        request_id = given if _REQUEST_ID.fullmatch(given) else token_hex(16)
        id_header = (b"x-request-id", request_id.encode())
        status = 0
        started = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], id_header]
            await send(message)

        token = REQUEST_ID.set(request_id)
        self.in_flight += 1
        try:
            await self.app(scope, receive, send_with_id)
        except Exception:
            log.exception("request_failed", method=scope["method"])
            if status == 0:
                await refuse(InternalError("see the log"), scope, receive, send_with_id)
        finally:
            self.in_flight -= 1
            self._observe(scope, status, time.perf_counter() - started)
            REQUEST_ID.reset(token)

    def _observe(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self.metrics.request_seconds.labels(method, route, str(status)).observe(seconds)
        if code := scope.get(ERROR):
            self.metrics.errors.labels(code).inc()
        if status >= 400 or status == 0 or (self.log_all and route not in OPEN_PATHS):
            told = {"method": method, "route": route, "status": status, "code": code, "ms": round(seconds * 1000, 2)}
            if reason := scope.get(_REASON):
                told["reason"] = reason
            log.info("request", **told)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})


class Admission:
    """Answers 429 when more requests than `limit` are in flight."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app = app
        self.limit = limit
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self.app(scope, receive, send)
            return
        if self.in_flight >= self.limit:
            await refuse(Overloaded("too many requests in flight", retry_after_s=1), scope, receive, send)
            return
        self.in_flight += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.in_flight -= 1


class ApiKeys:
    """Lets nobody in without `Authorization: Bearer` and one of the keys; compares in constant time."""

    def __init__(self, app: ASGIApp, keys: Iterable[str]) -> None:
        self.app = app
        self.digests = [sha256(key.encode()).digest() for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Brokers ask for permission before they have a key; OPTIONS answers nothing that a key guards.
        open_to_all = scope["type"] != "http" or scope["path"] in OPEN_PATHS or scope["method"] == "OPTIONS"
        if open_to_all or self._knows(scope):
            await self.app(scope, receive, send)
        else:
            await refuse(Unauthorized("send Authorization: Bearer and an API key"), scope, receive, send)

    def _knows(self, scope: Scope) -> bool:
        scheme, _, token = header(scope, b"authorization").partition(" ")
        digest = sha256(token.strip().encode()).digest()
        known = [hmac.compare_digest(digest, one) for one in self.digests]
        return scheme.lower() == "bearer" and any(known)


class BodyLimit:
    """Raises in whoever reads a body beyond `limit` bytes, announced or not, or one that takes too long.

    A route that reads without keeping may lift both, see `stream_body`. An answer before the end of such a body,
    or of one that was refused, closes the connection, because its sender might never end.

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

        async def send_and_close(message: Message) -> None:
            if not body.broken_off:
                await send(message)
            elif message["type"] == "http.response.start":
                await send({**message, "headers": [*message["headers"], (b"connection", b"close")]})
            else:
                await send({**message, "more_body": True})
                await body.drain(_LINGER_S)
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        # Not refused here: only a route that reads the body minds its size.
        await self.app(scope, body.receive, send_and_close)


class _Body:
    def __init__(self, receive: Receive, limit: int, timeout_s: float, announced: int) -> None:
        self._receive = receive
        self._limit: int | None = limit
        self._timeout_s = timeout_s
        self._announced = announced
        self._ends: float | None = asyncio.get_running_loop().time() + timeout_s
        self._read = 0
        self._complete = self._refused = False

    @property
    def broken_off(self) -> bool:
        """Whether this is a stream, or a refused body, whose end has not been read."""
        return (self._limit is None or self._refused) and not self._complete

    def limit(self, limit: int) -> None:
        self._limit = limit if self._limit is None else min(limit, self._limit)

    def stream(self, idle_s: float) -> None:
        self._limit = self._ends = None
        self._timeout_s = idle_s

    async def drain(self, most_s: float) -> None:
        """Read on and keep nothing: many a sender looks for the answer only when all is sent."""
        with suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                while not self._complete:
                    message = await self._receive()
                    self._complete = not message.get("more_body", False)
                    await asyncio.sleep(0)

    async def receive(self) -> Message:
        if self._complete:
            return await self._receive()
        self._check(self._announced)
        ends = asyncio.get_running_loop().time() + self._timeout_s if self._ends is None else self._ends
        try:
            async with asyncio.timeout_at(ends):
                message = await self._receive()
        except TimeoutError:
            self._refused = True
            raise self._late() from None
        self._read += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        self._check(self._read)
        return message

    def _check(self, size: int) -> None:
        if self._limit is not None and size > self._limit:
            self._refused = True
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


class EncodedPaths:
    """Routes item and user paths by their encoded form, so that `%2F` in an id is no separator."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(("/items/", "/users/")) and "raw_path" in scope:
            scope["path"] = scope["raw_path"].decode("latin-1")
        await self.app(scope, receive, send)
