"""How many requests are answered at a time: bounds for each class of routes, and for each caller within it."""

import asyncio
import math
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Literal

from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Overloaded
from service.http.asgi import CALLER, OPEN_PATHS, refuse
from service.http.headers import header
from service.http.media import JSON, NDJSON_NAMES
from service.metrics import Metrics
from service.settings import LimitSettings

RouteClass = Literal["events", "event_streams", "recommend", "items", "reads", "operations"]

_ALWAYS_ANSWERED = "/healthz"
_LATER_S = 1.0
"""After how long a request without a key is refused: who asks again at once would keep the event loop busy."""
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_ONE_NETWORK = 64
"""Bits of an IPv6 address that one caller can't choose."""
_CACHED_ADDRESSES = 1024


class Admission:
    """Answers 429 when too many requests of one class are in flight, or too many of one caller's.

    What is slow, or idle, takes room only from its own class, see `route_class`. A caller is an API key or, where none
    was asked for, a network address.
    """

    def __init__(self, app: ASGIApp, limits: LimitSettings, metrics: Metrics) -> None:
        self.app = app
        most = limits.max_concurrent_requests.model_dump()
        self._classes = {name: _Class(name, limit, limits.caller_share, metrics) for name, limit in most.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == _ALWAYS_ANSWERED:
            await self.app(scope, receive, send)
            return
        kind = route_class(scope)
        admitted = self._classes[kind]
        caller = _caller(scope)
        error = admitted.enter(caller)
        if error is not None:
            if kind == "operations":
                await asyncio.sleep(_LATER_S)
            await refuse(error, scope, receive, send)
            return
        try:
            await self.app(scope, receive, send)
        finally:
            admitted.leave(caller)


class _Class:
    def __init__(self, name: str, limit: int, share: float, metrics: Metrics) -> None:
        self._name = name
        self._limit = limit
        self._most_of_one = math.ceil(limit * share)
        self._in_flight = 0
        self._callers: dict[object, int] = {}
        self._full = metrics.requests_refused.labels(name, "class_full")
        self._greedy = metrics.requests_refused.labels(name, "caller_share")
        metrics.requests_admitted.labels(name).set_function(lambda: self._in_flight)

    def enter(self, caller: object) -> Overloaded | None:
        """Count the request in, or say why not."""
        if self._in_flight >= self._limit:
            self._full.inc()
            return Overloaded(f"too many requests in flight ({self._name})", retry_after_s=1)
        in_flight = self._callers.get(caller, 0)
        if in_flight >= self._most_of_one:
            self._greedy.inc()
            return Overloaded(f"too many requests of one caller in flight ({self._name})", retry_after_s=1)
        self._in_flight += 1
        self._callers[caller] = in_flight + 1
        return None

    def leave(self, caller: object) -> None:
        self._in_flight -= 1
        in_flight = self._callers.pop(caller) - 1
        if in_flight:
            self._callers[caller] = in_flight


def route_class(scope: Scope) -> RouteClass:
    """What kind of work a request asks for."""
    path, method = scope["path"], scope["method"]
    if path == "/events":
        return "event_streams" if _is_stream(header(scope, b"content-type")) else "events"
    if path == "/recommend":
        return "recommend"
    if path in OPEN_PATHS:
        return "operations"
    if path.startswith("/items") and method not in _READING:
        return "items"
    return "reads"


def _is_stream(content_type: str) -> bool:
    return content_type != JSON and content_type.partition(";")[0].strip().lower() in NDJSON_NAMES


def _caller(scope: Scope) -> object:
    if (key := scope.get(CALLER)) is not None:
        return key
    client = scope.get("client")
    return _network(client[0]) if client else ""


@lru_cache(_CACHED_ADDRESSES)
def _network(address: str) -> str:
    """The address or, of IPv6, its network: a caller has all addresses in it."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    if not isinstance(ip, IPv6Address):
        return address
    return str(ip.ipv4_mapped or ip_network((ip, _ONE_NETWORK), strict=False))
