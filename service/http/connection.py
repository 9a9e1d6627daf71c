"""HTTP/1.1 connections: uvicorn's protocol, with limits on what a caller may send around its requests."""

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
from service.settings.limits import LimitSettings

_LINGER_S = 5.0
"""How long input is discarded after the last response: many clients read only when they have sent everything."""
_LINGER_BYTES = 64 * 1024 * 1024
"""How much input is discarded."""
_PIECE_BYTES = 16 * 1024
"""The most that is parsed before the number of waiting requests is checked: one read may contain thousands."""
_CHUNK_BYTES = 16
"""The overhead of a chunk that does not count as extensions."""
_RESERVED_FILES = 256
"""For Redis, model servers and pictures."""
log = get_logger(__name__)


def bounded_http(limits: LimitSettings, metrics: Metrics) -> type[asyncio.Protocol]:
    """The protocol class of connections that are limited by `limits` and counted in `metrics`."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    bound = min(limits.connections, max(files - _RESERVED_FILES, files // 2))
    metrics.max_connections.set(bound)
    return type("BoundedHttp", (_BoundedHttp,), {"limits": limits, "metrics": metrics, "most_connections": bound})


class _Flow(FlowControl):
    """Reads nothing while requests wait for the one before them, even if that one resumes reading."""

    held = False

    def hold(self) -> None:
        self.held = True
        self.pause_reading()

    def resume_reading(self) -> None:
        if not self.held:
            super().resume_reading()


class _BoundedHttp(HttpToolsProtocol):
    """Limits connections, the bytes and time of a request's head, the bytes of chunk extensions and trailers, the
    requests that are pipelined, and the time in which a response must be read.

    A refusal is a problem, counted by its code; then the connection is closed. It is also closed after a response that
    is sent before the end of the request's body. Trailers are dropped, and upgrades are declined.
    """

    limits: ClassVar[LimitSettings]
    metrics: ClassVar[Metrics]
    most_connections: ClassVar[int]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._writes = JoinedWrites(transport)
        super().connection_made(self._writes)  # type: ignore[arg-type]
        self.flow: _Flow = _Flow(transport)
        self._head_open = self._discarding = self._last_response = False
        self._head_bytes = self._framing_bytes = self._piece_bytes = self._discarded_bytes = 0
        self._unparsed = memoryview(b"")
        self._error: TastestreamError | None = None
        self._read_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._running: RequestResponseCycle | None = None
        self.metrics.connections.set(len(self.connections))
        if len(self.connections) > self.most_connections:
            self._refuse(Overloaded("too many connections", retry_after_s=1), linger=False)
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        # uvicorn informs only the last request, and an earlier one would write to a closed connection.
        if self._running is not None:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)
        self._discard_input()
        self.resume_writing()
        self.metrics.connections.set(len(self.connections))

    def data_received(self, data: bytes) -> None:
        if self._discarding:
            self._discarded_bytes += len(data)
            if self._discarded_bytes > _LINGER_BYTES:
                self.transport.close()
            return
        self._unparsed = memoryview(bytes(self._unparsed) + data if self._unparsed else data)
        self._parse()

    def _parse(self) -> None:
        while self._unparsed and not self._discarding and not self.pipeline:
            piece = self._unparsed[:_PIECE_BYTES]
            consumed = self._parse_piece(piece)
            self._unparsed = self._unparsed[consumed:]
        if self.pipeline:
            self.flow.hold()

    def _parse_piece(self, piece: memoryview | bytes) -> int:
        """Parse `piece`, and return how many bytes of it were consumed."""
        self._piece_bytes = consumed = len(piece)
        try:
            self.parser.feed_data(piece)
        except HttpParserUpgrade as upgrade:
            consumed = upgrade.args[0]
            self._decline_upgrade()
        except HttpParserCallbackError:
            self._refuse(self._error or MalformedRequest("the URL is malformed, or longer than 65,535 characters"))
        except HttpParserError as error:
            self._refuse(MalformedRequest(f"not HTTP/1.1: {error}"))
        else:
            self._check_bytes(consumed)
        return consumed

    def _decline_upgrade(self) -> None:
        """Parse the head again without the upgrade, after which the parser would not read a body."""
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
            elif self._read_timer is None:
                self._await_head()
            return
        self._framing_bytes = max(0, self._framing_bytes + size)
        if self._framing_bytes > limit:
            self._refuse(HeadersTooLarge(f"chunk extensions and trailers: more than {limit} bytes"))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self._head_open = True
        # The first piece does not count, because most of it may be the end of a long body.
        self._head_bytes = -self._piece_bytes

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers come here as well. As headers, they could authorize a caller without a key (RFC 9110, 6.5.1).
        if self._head_open:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_open = False
        self._framing_bytes = -self._piece_bytes
        self._stop_read_timer()
        self._unset_keepalive_if_required()
        try:
            check_head(self.parser.get_method().decode(), self.parser.get_http_version(), self.headers)
        except TastestreamError as error:
            self._error = error
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

        # These are not coroutine functions, which would add two layers to every request.
        def answer(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            def send_and_close(message: Message) -> Awaitable[None]:
                last = cycle.more_body or (self._discarding and cycle is self.cycle)
                if message["type"] == "http.response.start":
                    self._writes.hold_next()
                    if last:
                        self._last_response = True
                        message["headers"] = [*message["headers"], (b"connection", b"close")]
                elif (last or self._last_response) and not message.get("more_body", False):
                    # Otherwise uvicorn would close at once, and the caller might lose the response.
                    self._last_response = cycle.keep_alive = True
                return send(message)

            return app(scope, receive, send_and_close)

        super()._start_asgi_task(cycle, answer)  # type: ignore[arg-type]

    def on_response_complete(self) -> None:
        # The response to HEAD has no body, with which its head would have been written.
        self._writes.flush()
        if self._last_response:
            self._close()
            return
        self.flow.held = False
        super().on_response_complete()
        if not self.transport.is_closing():
            self._parse()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.limits.answer_timeout_s, self._response_not_read)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()

    def _response_not_read(self) -> None:
        log.info("answer_not_read", after_s=self.limits.answer_timeout_s)
        self.transport.abort()

    def _await_head(self) -> None:
        self._read_timer = self.loop.call_later(self.limits.header_timeout_s, self._head_timed_out)

    def _head_timed_out(self) -> None:
        if self._is_responding():
            self._await_head()
        elif self._head_open:
            within = f"{self.limits.header_timeout_s:g} s"
            self._refuse(HeadersTimeout(f"request line and headers: did not arrive within {within}"))
        else:
            self.transport.close()

    def _stop_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _is_responding(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, error: TastestreamError, *, linger: bool = True) -> None:
        """Respond with `error` and close. If a complete request is in progress, respond only to that one instead."""
        self._discard_input()
        self.metrics.errors.labels(error.code).inc()
        log.info("connection_refused", status=error.status, code=error.code)
        if not self._is_responding():
            self._respond(error, linger=linger)
        elif not self.cycle.more_body:
            self.cycle.keep_alive = False
        elif self.cycle.response_started or self.pipeline:
            self.transport.close()
        else:
            # The endpoint learns that the rest of the body will not come, and its response is not sent.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self._respond(error, linger=linger)

    def _respond(self, error: TastestreamError, *, linger: bool) -> None:
        answer = respond(error)
        headers = [*self.server_state.default_headers, *answer.raw_headers, (b"connection", b"close")]
        lines = [b"%s: %s\r\n" % header for header in headers]
        self.transport.write(b"".join([STATUS_LINE[error.status], *lines, b"\r\n", answer.body]))
        self._close(linger=linger)

    def _close(self, *, linger: bool = True) -> None:
        """End the output, and close when the caller does, at the latest after `_LINGER_S`."""
        self._discard_input()
        if self.transport.is_closing():
            return
        if linger and self.transport.can_write_eof():
            self.transport.write_eof()
            self.flow.held = False
            self.flow.resume_reading()
            self._read_timer = self.loop.call_later(_LINGER_S, self.transport.close)
        else:
            self.transport.close()

    def _discard_input(self) -> None:
        """Discard all input, including what was received of a request."""
        self._discarding = True
        self._stop_read_timer()
        self._unset_keepalive_if_required()
        self._unparsed = memoryview(b"")
        self.url = b""
        self.headers = []
