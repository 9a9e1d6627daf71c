"""Limits on a request's body: its bytes, the bytes of all bodies together, and the time to arrive."""

import asyncio
import math

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import BodyTimeout, BodyTooLarge
from service.http.body_budget import BodyBudget, Holding
from service.http.headers import header
from service.metrics import Metrics
from service.settings.limits import LimitSettings
from service.shared_timer import SharedTimer

_BODY = "tastestream.body"


class BodyLimit:
    """Limits the bodies of requests.

    A route that does not keep the body may lift the first two limits, see `stream_body`. The connection is closed after
    a response that is sent before the end of the body, see `service.http.connection`.

    Raises, in the reader of the body:
        BodyTooLarge: more than `limits.body_bytes`, according to `Content-Length` or received.
        BodyTimeout: not complete after `limits.body_timeout_s`.
        Overloaded: all bodies together take more than `limits.bytes_in_flight`.
    """

    def __init__(self, app: ASGIApp, limits: LimitSettings, metrics: Metrics) -> None:
        self.app = app
        self._limits = limits
        self._budget = BodyBudget(limits.bytes_in_flight, metrics)
        self._timer = SharedTimer(limits.body_timeout_s, _Body.expire)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = header(scope, b"content-length")
        body = _Body(receive, self._limits, self._budget, self._timer, int(announced) if announced.isdecimal() else 0)
        scope[_BODY] = body
        self._timer.start(body)
        try:
            # Not refused here, because routes that do not read the body ignore its size.
            await self.app(scope, body.receive, send)
        finally:
            body.release()


class _Body:
    def __init__(
        self, receive: Receive, limits: LimitSettings, budget: BodyBudget, timer: "SharedTimer[_Body]", announced: int
    ) -> None:
        self._receive = receive
        self._budget = budget
        self._timer = timer
        self._holding = Holding(asyncio.get_running_loop().time())
        self.limit: float = limits.body_bytes
        self._timeout_s = limits.body_timeout_s
        self._announced = announced
        self._streams = self._expired = False
        self._read = 0

    def stream(self, idle_s: float) -> None:
        self._timer.stop(self)
        self.limit = math.inf
        self._timeout_s = idle_s
        self._streams, self._expired = True, False

    def expire(self) -> None:
        """Make the reader of the body stop waiting."""
        self._expired = True
        self._holding.stop_waiting()

    def release(self) -> None:
        self._timer.stop(self)
        self._budget.release(self._holding)

    async def receive(self) -> Message:
        if not self._holding.arriving:
            return await self._receive()
        self._check(self._announced)
        if self._streams:
            # The previous piece has been processed.
            self._budget.release(self._holding)
        message = await self._wait()
        size = len(message.get("body", b""))
        self._read += size
        self._holding.arriving = message.get("more_body", False)
        self._check(self._read)
        self._budget.hold(self._holding, size if self._streams else self._read)
        return message

    async def _wait(self) -> Message:
        if self._holding.refused or self._expired:
            within_s: float | None = 0
        else:
            within_s = self._timeout_s if self._streams else None
        try:
            async with asyncio.timeout(within_s) as self._holding.waiting:
                return await self._receive()
        except TimeoutError:
            if self._holding.refused:
                raise self._budget.full() from None
            what = "nothing arrived for" if self._streams else "not complete after"
            raise BodyTimeout(f"body: {what} {self._timeout_s:g} s", field="body") from None
        finally:
            self._holding.waiting = None

    def _check(self, size: int) -> None:
        if size > self.limit:
            raise BodyTooLarge(f"body: larger than {self.limit} bytes", field="body")


def limit_body(scope: Scope, limit: int) -> None:
    """Lower the limit of the body to `limit` bytes."""
    body: _Body = scope[_BODY]
    body.limit = min(limit, body.limit)


def stream_body(scope: Scope, idle_s: float) -> None:
    """Allow the rest of the body any size and any time, as long as more arrives within `idle_s`."""
    body: _Body = scope[_BODY]
    body.stream(idle_s)
