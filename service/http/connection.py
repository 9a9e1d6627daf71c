"""What a caller may do to a connection before there is a request: uvicorn's HTTP/1.1 with bounds and our answers."""

import asyncio
import resource
from typing import ClassVar

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.errors import HeadersTimeout, HeadersTooLarge, MalformedRequest, Overloaded, TastestreamError
from service.http.problems import respond
from service.logs import get_logger
from service.metrics import Metrics
from service.settings import LimitSettings

_LINGER_S = 2.0
"""How long what is still being sent is thrown away after a refusal, so that its answer can be read."""
_FILES_KEPT_BACK = 256
log = get_logger(__name__)


def bounded_http(limits: LimitSettings, metrics: Metrics) -> type[asyncio.Protocol]:
    """The protocol of connections that are held to `limits` and counted in `metrics`."""
    bound = min(limits.connections, _files_for_callers())
    return type("BoundedHttp", (_BoundedHttp,), {"limits": limits, "metrics": metrics, "most_connections": bound})


def _files_for_callers() -> int:
    """The open files that this process may have, less those for Redis, model servers and pictures."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(allowed - _FILES_KEPT_BACK, allowed // 2)


class _BoundedHttp(HttpToolsProtocol):
    """Bounds connections, the bytes and time of what comes before a body (the head of a request), and the time
    in which an answer must be read.

    A refusal is a problem, counted by its code, after which the connection is closed.
    """

    limits: ClassVar[LimitSettings]
    metrics: ClassVar[Metrics]
    most_connections: ClassVar[int]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_open = self._refused = False
        self._head_bytes = self._reading = 0
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._running: RequestResponseCycle | None = None
        self.metrics.connections.set(len(self.connections))
        if len(self.connections) > self.most_connections:
            self._refuse(Overloaded("too many connections", retry_after_s=1), linger_s=0)
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        # uvicorn tells the last request alone, and the one before it would write to a connection that is gone.
        if self._running is not None:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)
        self._stop_timer()
        self._stop_unread()
        self._unset_keepalive_if_required()
        self.metrics.connections.set(len(self.connections))

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._reading = len(data)
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade:
            pass  # The request is answered as if it had not asked for another protocol.
        except HttpParserCallbackError:
            self._refuse(MalformedRequest("the URL is malformed, or longer than 65,535 characters"))
            return
        except HttpParserError as error:
            self._refuse(MalformedRequest(f"not HTTP/1.1: {error}"))
            return
        if not self._head_open:
            return
        self._head_bytes += len(data)
        if self._head_bytes > self.limits.header_bytes:
            self._refuse(HeadersTooLarge(f"request line and headers: more than {self.limits.header_bytes} bytes"))
        elif self._timer is None:
            self._await_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self._head_open = True
        # The read in which it begins may be the rest of a long body for the most part, and is not counted.
        self._head_bytes = -self._reading

    def on_headers_complete(self) -> None:
        self._head_open = False
        self._stop_timer()
        self._unset_keepalive_if_required()
        super().on_headers_complete()
        if not self.pipeline:
            self._running = self.cycle

    def on_response_complete(self) -> None:
        if self.pipeline:
            self._running = self.pipeline[-1][0]
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(self.limits.answer_timeout_s, self._is_not_read)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_unread()

    def _is_not_read(self) -> None:
        log.info("answer_not_read", after_s=self.limits.answer_timeout_s)
        self.transport.abort()

    def _stop_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _await_head(self) -> None:
        self._timer = self.loop.call_later(self.limits.header_timeout_s, self._head_is_late)

    def _head_is_late(self) -> None:
        if self._is_answering():
            self._await_head()
        elif self._head_open:
            detail = f"request line and headers: not here after {self.limits.header_timeout_s:g} s"
            self._refuse(HeadersTimeout(detail))
        else:
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, error: TastestreamError, linger_s: float = _LINGER_S) -> None:
        """Answer with `error` and close; a request before it that is whole is answered first, and alone."""
        self._refused = True
        self._stop_timer()
        self.metrics.errors.labels(error.code).inc()
        log.info("connection_refused", status=error.status, code=error.code)
        if not self._is_answering():
            self._answer(error, linger_s)
        elif not self.cycle.more_body:
            self.cycle.keep_alive = False
        elif self.cycle.response_started or self.pipeline:
            self.transport.close()
        else:
            # Whoever reads the body learns that no more will come, and what it answers is not sent.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self._answer(error, linger_s)

    def _answer(self, error: TastestreamError, linger_s: float) -> None:
        self._unset_keepalive_if_required()
        answer = respond(error)
        headers = [*self.server_state.default_headers, *answer.raw_headers, (b"connection", b"close")]
        lines = [b"%s: %s\r\n" % header for header in headers]
        self.transport.write(b"".join([STATUS_LINE[error.status], *lines, b"\r\n", answer.body]))
        if linger_s and self.transport.can_write_eof():
            self.transport.write_eof()
            self._timer = self.loop.call_later(linger_s, self.transport.close)
        else:
            self.transport.close()
