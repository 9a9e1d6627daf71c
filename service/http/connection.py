"""What a caller may do to a connection before there is a request: uvicorn's HTTP/1.1 with bounds and our answers."""

import asyncio
import resource
from collections.abc import Awaitable
from typing import ClassVar

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.errors import HeadersTimeout, HeadersTooLarge, MalformedRequest, Overloaded, TastestreamError
from service.http.head import check_head, without_upgrade
from service.http.joined_writes import JoinedWrites
from service.http.problems import respond
from service.logs import get_logger
from service.metrics import Metrics
from service.settings import LimitSettings

_LINGER_S = 5.0
"""How long what is still being sent is thrown away after the last answer: many a sender reads only when all is sent."""
_LINGER_BYTES = 64 * 1024 * 1024
"""How much of it."""
_PIECE_BYTES = 16 * 1024
"""As much as is parsed before a look at how many requests wait: a read may hold thousands of them."""
_CHUNK_BYTES = 16
"""What a chunk may cost beside its data without counting as extensions."""
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


class _Flow(FlowControl):
    """Reads nothing while requests wait for the one before them, whatever that one wants to read."""

    held = False

    def hold(self) -> None:
        self.held = True
        self.pause_reading()

    def resume_reading(self) -> None:
        if not self.held:
            super().resume_reading()


class _BoundedHttp(HttpToolsProtocol):
    """Bounds connections, the bytes and time of a request's head, the bytes of chunk extensions and trailers, the
    requests that are sent without waiting for answers, and the time in which an answer must be read.

    A refusal is a problem, counted by its code, after which the connection is closed. It is also closed after an
    answer that comes before the end of the request's body. Trailers are dropped, and upgrades are not taken.
    """

    limits: ClassVar[LimitSettings]
    metrics: ClassVar[Metrics]
    most_connections: ClassVar[int]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._writes = JoinedWrites(transport)
        super().connection_made(self._writes)  # type: ignore[arg-type]
        self.flow: _Flow = _Flow(transport)
        self._head_open = self._deaf = self._ends = False
        self._head_bytes = self._framing_bytes = self._reading = self._thrown_away = 0
        self._unparsed = memoryview(b"")
        self._fault: TastestreamError | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._running: RequestResponseCycle | None = None
        self.metrics.connections.set(len(self.connections))
        if len(self.connections) > self.most_connections:
            self._refuse(Overloaded("too many connections", retry_after_s=1), linger=False)
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        # uvicorn tells the last request alone, and the one before it would write to a connection that is gone.
        if self._running is not None:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)
        self._forget()
        self._stop_unread()
        self.metrics.connections.set(len(self.connections))

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            self._thrown_away += len(data)
            if self._thrown_away > _LINGER_BYTES:
                self.transport.close()
            return
        self._unparsed = memoryview(bytes(self._unparsed) + data if self._unparsed else data)
        self._parse()

    def _parse(self) -> None:
        while self._unparsed and not self._deaf and not self.pipeline:
            piece = self._unparsed[:_PIECE_BYTES]
            consumed = self._parse_piece(piece)
            self._unparsed = self._unparsed[consumed:]
        if self.pipeline:
            self.flow.hold()

    def _parse_piece(self, piece: memoryview | bytes) -> int:
        """Parse, and return how many bytes of `piece` are done with."""
        self._reading = consumed = len(piece)
        try:
            self.parser.feed_data(piece)
        except HttpParserUpgrade as upgrade:
            consumed = upgrade.args[0]
            self._decline_upgrade()
        except HttpParserCallbackError:
            self._refuse(self._fault or MalformedRequest("the URL is malformed, or longer than 65,535 characters"))
        except HttpParserError as error:
            self._refuse(MalformedRequest(f"not HTTP/1.1: {error}"))
        else:
            self._check_bytes(consumed)
        return consumed

    def _decline_upgrade(self) -> None:
        """Parse the head again, as if it had not asked: the parser takes what comes after an upgrade for no body."""
        head = without_upgrade(self.parser.get_method(), self.url, self.parser.get_http_version(), self.headers)
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._parse_piece(head)

    def _check_bytes(self, size: int) -> None:
        limit = self.limits.header_bytes
        if self._head_open:
            self._head_bytes += size
            if self._head_bytes > limit:
                self._refuse(HeadersTooLarge(f"request line and headers: more than {limit} bytes"))
            elif self._timer is None:
                self._await_head()
            return
        self._framing_bytes = max(0, self._framing_bytes + size)
        if self._framing_bytes > limit:
            self._refuse(HeadersTooLarge(f"chunk extensions and trailers: more than {limit} bytes"))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self._head_open = True
        # The piece in which it begins may be the rest of a long body for the most part, and is not counted.
        self._head_bytes = -self._reading

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers come here, too. Taken for headers they could let a caller in whose head did not (RFC 9110, 6.5.1).
        if self._head_open:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_open = False
        self._framing_bytes = -self._reading
        self._stop_timer()
        self._unset_keepalive_if_required()
        try:
            check_head(self.parser.get_method().decode(), self.parser.get_http_version(), self.headers)
        except TastestreamError as fault:
            self._fault = fault
            raise
        if not self.parser.should_upgrade():
            super().on_headers_complete()

    def on_chunk_header(self) -> None:
        self._framing_bytes -= _CHUNK_BYTES

    def on_body(self, body: bytes) -> None:
        self._framing_bytes -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]
        self._running = cycle

        # Neither of the two is a coroutine function: each would be one more layer for every request.
        def answer(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            def send_and_close(message: Message) -> Awaitable[None]:
                last = cycle.more_body or (self._deaf and cycle is self.cycle)
                if message["type"] == "http.response.start":
                    self._writes.keep_next()
                    if last:
                        self._ends = True
                        message["headers"] = [*message["headers"], (b"connection", b"close")]
                elif (last or self._ends) and not message.get("more_body", False):
                    # Else uvicorn would close at once, and the sender might lose the answer.
                    self._ends = cycle.keep_alive = True
                return send(message)

            return app(scope, receive, send_and_close)

        super()._start_asgi_task(cycle, answer)  # type: ignore[arg-type]

    def on_response_complete(self) -> None:
        # An answer to HEAD has no body with which its head would have been written.
        self._writes.flush()
        if self._ends:
            self._close()
            return
        self.flow.held = False
        super().on_response_complete()
        if not self.transport.is_closing():
            self._parse()

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

    def _refuse(self, error: TastestreamError, *, linger: bool = True) -> None:
        """Answer with `error` and close; a request before it that is whole is answered first, and alone."""
        self._forget()
        self.metrics.errors.labels(error.code).inc()
        log.info("connection_refused", status=error.status, code=error.code)
        if not self._is_answering():
            self._answer(error, linger=linger)
        elif not self.cycle.more_body:
            self.cycle.keep_alive = False
        elif self.cycle.response_started or self.pipeline:
            self.transport.close()
        else:
            # Whoever reads the body learns that no more will come, and what it answers is not sent.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self._answer(error, linger=linger)

    def _answer(self, error: TastestreamError, *, linger: bool) -> None:
        answer = respond(error)
        headers = [*self.server_state.default_headers, *answer.raw_headers, (b"connection", b"close")]
        lines = [b"%s: %s\r\n" % header for header in headers]
        self.transport.write(b"".join([STATUS_LINE[error.status], *lines, b"\r\n", answer.body]))
        self._close(linger=linger)

    def _close(self, *, linger: bool = True) -> None:
        """Say that there is no more to read, and close when the caller does, or soon."""
        self._forget()
        if self.transport.is_closing():
            return
        if linger and self.transport.can_write_eof():
            self.transport.write_eof()
            self.flow.held = False
            self.flow.resume_reading()
            self._timer = self.loop.call_later(_LINGER_S, self.transport.close)
        else:
            self.transport.close()

    def _forget(self) -> None:
        """Take in nothing more, and keep nothing of what was begun."""
        self._deaf = True
        self._stop_timer()
        self._unset_keepalive_if_required()
        self._unparsed = memoryview(b"")
        self.url = b""
        self.headers = []
