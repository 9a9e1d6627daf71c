"""Limits on concurrent requests: one for each class of routes, and one for each caller within a class."""

import asyncio
import math
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Literal

from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Overloaded
from service.http.auth import CALLER, OPEN_PATHS
from service.http.headers import header
from service.http.media import JSON, NDJSON_NAMES
from service.http.pressure import Pressure
from service.http.problems import refuse
from service.metrics import Metrics
from service.settings.limits import LimitSettings

RouteClass = Literal["events", "event_streams", "recommend", "items", "deletes", "reads", "operations"]

_UNLIMITED = frozenset({"/healthz", "/metrics"})
"""Served whatever else there is to do; `/metrics` is computed once a second, however many ask."""
_DELAY_S = 1.0
"""Before a request without a key is refused: a caller that retries at once would keep the event loop busy."""
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Admission:
    """Answers 429 when too many requests of one class, or of one caller in it, are in flight, or under `pressure`.

    Slow and idle requests use up only their own class, see `route_class`. A caller is the name of an API key
    of a tenant or, where none is required, a network address. With several tenants, all callers of one of them have
    no larger share than one caller.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: LimitSettings,
        metrics: Metrics,
        pressure: Pressure,
        *,
        several_tenants: bool = False,
    ) -> None:
        self.app = app
        self._several_tenants = several_tenants
        self._pressure = pressure
        most = limits.max_concurrent_requests.model_dump()
        self._classes = {name: _Class(name, limit, limits.caller_share, metrics) for name, limit in most.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _UNLIMITED:
            await self.app(scope, receive, send)
            return
        kind = route_class(scope)
        if self._pressure.sheds(kind):
            await refuse(Overloaded(f"the gateway is overloaded ({kind})", retry_after_s=1), scope, receive, send)
            return
        admitted = self._classes[kind]
        callers = self._callers(scope)
        error = admitted.enter(callers)
        if error is not None:
            if kind == "operations":
                await asyncio.sleep(_DELAY_S)
            await refuse(error, scope, receive, send)
            return
        try:
            await self.app(scope, receive, send)
        finally:
            admitted.leave(callers)

    def _callers(self, scope: Scope) -> Sequence[object]:
        """Those whose share a request uses up: its caller, and the caller's tenant."""
        if (key := scope.get(CALLER)) is not None:
            return (key.caller, key.tenant) if self._several_tenants else (key.caller,)
        client = scope.get("client")
        return (_network(client[0]) if client else "",)


class _Class:
    def __init__(self, name: str, limit: int, share: float, metrics: Metrics) -> None:
        self._name = name
        self._limit = limit
        self._caller_limit = math.ceil(limit * share)
        self._in_flight = 0
        self._callers: dict[object, int] = {}
        self._class_full = metrics.requests_refused.labels(name, "class_full")
        self._caller_full = metrics.requests_refused.labels(name, "caller_share")
        metrics.compute(metrics.requests_admitted.labels(name), lambda: self._in_flight)

    def enter(self, callers: Sequence[object]) -> Overloaded | None:
        """Count a request of `callers`, or return why it is refused."""
        if self._in_flight >= self._limit:
            self._class_full.inc()
            return Overloaded(f"too many requests in flight ({self._name})", retry_after_s=1)
        if any(self._callers.get(caller, 0) >= self._caller_limit for caller in callers):
            self._caller_full.inc()
            return Overloaded(f"too many requests of one caller in flight ({self._name})", retry_after_s=1)
        self._in_flight += 1
        for caller in callers:
            self._callers[caller] = self._callers.get(caller, 0) + 1
        return None

    def leave(self, callers: Sequence[object]) -> None:
        self._in_flight -= 1
        for caller in callers:
            in_flight = self._callers.pop(caller) - 1
            if in_flight:
                self._callers[caller] = in_flight


def route_class(scope: Scope) -> RouteClass:
    """The class of a request, by path, method and content type."""
    path, method = scope["path"], scope["method"]
    if path == "/events":
        return "event_streams" if _is_stream(header(scope, b"content-type")) else "events"
    if path == "/recommend":
        return "recommend"
    if path in OPEN_PATHS:
        return "operations"
    if method == "DELETE" and path.startswith("/users/"):
        return "deletes"
    if path.startswith("/items") and method not in _READING:
        return "items"
    return "reads"


def _is_stream(content_type: str) -> bool:
    return content_type != JSON and content_type.partition(";")[0].strip().lower() in NDJSON_NAMES


@lru_cache(1024)
def _network(address: str) -> str:
    """The address; for IPv6 its /64 network, whose addresses all belong to one caller."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    if not isinstance(ip, IPv6Address):
        return address
    return str(ip.ipv4_mapped or ip_network((ip, 64), strict=False))
