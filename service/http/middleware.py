"""Around every request: its id, its duration, its log line."""

import re
import time
from collections.abc import Awaitable
from contextlib import AbstractContextManager, nullcontext
from secrets import token_hex

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import InternalError
from service.http.auth import OPEN_PATHS
from service.http.headers import first_headers, header
from service.http.objectives import Objectives
from service.http.problems import ERROR, REASON, refuse
from service.logs import REQUEST_ID, get_logger
from service.metrics import Metrics
from service.tracing import Span, Tracer, from_traceparent, named_by_caller

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
_UNTRACED: AbstractContextManager[None] = nullcontext()
log = get_logger(__name__)


class Telemetry:
    """Gives each request an id, measures and logs it, and turns unexpected exceptions into a 500 without details.

    Args:
        log_all: log every request, not only errors.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, tracer: Tracer | None = None, *, log_all: bool) -> None:
        self.app = app
        self.metrics = metrics
        self.tracer = tracer
        self.log_all = log_all
        self.in_flight = 0
        self.objectives = Objectives(metrics)
        metrics.compute(metrics.requests_in_flight, lambda: self.in_flight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = header(scope, b"x-request-id")
        request_id = given if _REQUEST_ID.fullmatch(given) else token_hex(16)
        added = [(b"x-request-id", request_id.encode())]
        status = 0
        started = time.perf_counter()

        def send_with_id(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *added]
            return send(message)

        token = REQUEST_ID.set(request_id)
        self.in_flight += 1
        with self._trace(scope) as span:
            if span is not None:
                added.append((b"traceresponse", span.place.traceparent.encode()))
            try:
                await self.app(scope, receive, send_with_id)
            except Exception:
                log.exception("request_failed", method=scope["method"])
                if status == 0:
                    await refuse(InternalError("see the log"), scope, receive, send_with_id)
            finally:
                self.in_flight -= 1
                self._observe(scope, status, time.perf_counter() - started, span)
                REQUEST_ID.reset(token)

    def _trace(self, scope: Scope) -> AbstractContextManager[Span | None]:
        """The span of the request, or else, in its log lines, the trace id of the caller."""
        given = first_headers(scope).get(b"traceparent")
        caller = None if given is None else from_traceparent(given.decode("latin-1"))
        if self.tracer is not None and scope["path"] not in OPEN_PATHS:
            return self.tracer.request("request", caller)
        return _UNTRACED if caller is None else named_by_caller(caller)

    def _observe(self, scope: Scope, status: int, seconds: float, span: Span | None) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        if span is not None:
            _describe(span, method, route, status, scope.get(ERROR))
        self.metrics.request_seconds.labels(method, route, str(status)).observe(seconds)
        self.objectives.count(scope, status)
        if code := scope.get(ERROR):
            self.metrics.errors.labels(code).inc()
        if status >= 400 or status == 0 or (self.log_all and route not in OPEN_PATHS):
            entry = {"method": method, "route": route, "status": status, "code": code, "ms": round(seconds * 1000, 2)}
            if reason := scope.get(REASON):
                entry["reason"] = reason
            log.info("request", **entry)


def _describe(span: Span, method: str, route: str, status: int, code: str | None) -> None:
    span.otel.update_name(f"{method} {route}")
    span.add({"http.request.method": method, "http.route": route, "http.response.status_code": status})
    if status >= 500 or status == 0:
        span.fail(code or "no_response")


class EncodedPaths:
    """Routes item and user paths by their encoded form, in which `%2F` in an id is not a separator."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(("/items/", "/users/")) and "raw_path" in scope:
            scope["path"] = scope["raw_path"].decode("latin-1")
        await self.app(scope, receive, send)
