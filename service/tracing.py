"""Traces by OpenTelemetry, if the settings name a collector: what a request or a fold did, and how long it took.

Trace ids come and go as W3C `traceparent` headers. A trace continues where a worker folds the request's events, and at
the model servers. Spans have routes, counts and error codes, and never an id or a text of a user or an item.
"""

import asyncio
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar, Token
from importlib.metadata import version
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from model_store.engine.client import TRACEPARENT
from model_store.errors import UserError
from service.logs import TRACE, get_logger
from service.settings import PREFIX, Settings

if TYPE_CHECKING:
    from opentelemetry import trace as api
    from opentelemetry.sdk.trace import TracerProvider

_W3C = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_STORED = re.compile(r"[0-9a-f]{48}")
_MOST_LINKS = 16
_EXPORT_S = 3.0
_CLOSE_S = 4.0
log = get_logger(__name__)


class Place(NamedTuple):
    """A span, seen from outside of its process. Ids in hexadecimal."""

    trace_id: str
    span_id: str
    sampled: bool

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.sampled:02x}"


def from_traceparent(header: str) -> Place | None:
    """The caller's span, None if the header is not valid (W3C Trace Context, 3.2)."""
    found = _W3C.fullmatch(header)
    if found is None:
        return None
    kind, trace_id, span_id, flags, more = found.groups()
    if not int(trace_id, 16) or not int(span_id, 16) or (kind == "00" and more):
        return None
    return Place(trace_id, span_id, bool(int(flags, 16) & 1))


def to_store() -> str | None:
    """The current span as an event stores it, 48 characters; None if there is none that is sampled."""
    span = _CURRENT.get()
    return None if span is None else span.place.trace_id + span.place.span_id


def from_store(text: str) -> Place | None:
    return Place(text[:32], text[32:], True) if _STORED.fullmatch(text) else None


class Span:
    """A span of the current context, while its `with` block runs."""

    def __init__(self, tracer: "Tracer", span: "api.Span") -> None:
        self._tracer = tracer
        self.otel = span
        own = span.get_span_context()
        self.place = Place(f"{own.trace_id:032x}", f"{own.span_id:016x}", own.trace_flags.sampled)
        self._before: tuple[Token[Any], ...] = ()

    def child(self, name: str, *, calls: bool) -> "Span":
        return self._tracer.start(name, self.otel, calls=calls)

    def add(self, attributes: Mapping[str, str | int | float | bool]) -> None:
        self.otel.set_attributes(attributes)

    def fail(self, code: str) -> None:
        """Mark the span as failed, with a fixed code: messages may have texts of users."""
        self.otel.set_attribute("error.type", code)
        self.otel.set_status(self._tracer.api.Status(self._tracer.api.StatusCode.ERROR))

    def __enter__(self) -> Self:
        place = self.place
        self._before = (
            _CURRENT.set(self if self.otel.is_recording() else None),
            TRACE.set((place.trace_id, place.span_id)),
            TRACEPARENT.set(place.traceparent),
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if kind is not None:
            self.fail(kind.__name__)
        current, trace, traceparent = self._before
        _CURRENT.reset(current)
        TRACE.reset(trace)
        TRACEPARENT.reset(traceparent)
        self.otel.end()


_CURRENT: ContextVar[Span | None] = ContextVar("span", default=None)
_NOTHING: AbstractContextManager[None] = nullcontext()


def span(name: str, *, calls: bool = False) -> AbstractContextManager[Span | None]:
    """A span below the current one; nothing if there is none. `calls`: it is a call to another service."""
    current = _CURRENT.get()
    return _NOTHING if current is None else current.child(name, calls=calls)


@contextmanager
def named_by_caller(place: Place) -> Iterator[None]:
    """Without a collector: the lines that are logged meanwhile have the caller's trace id."""
    before = TRACE.set((place.trace_id, None))
    try:
        yield
    finally:
        TRACE.reset(before)


class Tracer:
    """Starts the spans that begin in this process, and sends finished ones to the collector in the background."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry import trace

        self.api = trace
        self._provider = provider
        self._tracer = provider.get_tracer("tastestream")

    def request(self, name: str, caller: Place | None) -> Span:
        """The span of a request that was received."""
        kind = self.api.SpanKind.SERVER
        return Span(self, self._tracer.start_span(name, self._context(caller), kind))

    def work(self, name: str, causes: Sequence[Place]) -> Span:
        """The span of work that the `causes` have queued: part of the trace of the first, linked to the others."""
        distinct = [*dict.fromkeys(causes)]
        links = [self.api.Link(self._outside(cause)) for cause in distinct[1 : 1 + _MOST_LINKS]]
        first = self._context(distinct[0] if distinct else None)
        return Span(self, self._tracer.start_span(name, first, self.api.SpanKind.CONSUMER, links=links))

    def start(self, name: str, parent: "api.Span", *, calls: bool) -> Span:
        kind = self.api.SpanKind.CLIENT if calls else self.api.SpanKind.INTERNAL
        return Span(self, self._tracer.start_span(name, self.api.set_span_in_context(parent), kind))

    async def close(self) -> None:
        """Send what is finished. A collector that does not answer delays this for a few seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await asyncio.to_thread(self._provider.shutdown)

    def _context(self, place: Place | None) -> Any:
        """The context whose span is `place`. Not the ambient one, so that a root is a root."""
        from opentelemetry.context import Context

        if place is None:
            return Context()
        return self.api.set_span_in_context(self.api.NonRecordingSpan(self._outside(place)), Context())

    def _outside(self, place: Place) -> "api.SpanContext":
        flags = self.api.TraceFlags(self.api.TraceFlags.SAMPLED if place.sampled else 0)
        return self.api.SpanContext(int(place.trace_id, 16), int(place.span_id, 16), is_remote=True, trace_flags=flags)


class _Complaints(logging.Handler):
    """What the SDK logs by itself, as lines of this service."""

    def emit(self, record: logging.LogRecord) -> None:
        log.warning("traces_not_sent", detail=record.getMessage()[:200])


def open_tracer(settings: Settings, role: str) -> Tracer | None:
    """The tracer of a `role` (gateway, worker), None if the settings name no collector.

    Raises:
        UserError: OpenTelemetry is not installed.
    """
    tracing = settings.tracing
    if tracing.endpoint is None:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    except ImportError:
        raise UserError(
            f"{PREFIX}TRACING__ENDPOINT is set, but OpenTelemetry is not installed: pip install 'tastestream[tracing]'"
        ) from None
    complaints = logging.getLogger("opentelemetry")
    complaints.handlers, complaints.propagate = [_Complaints(logging.WARNING)], False
    named = {"service.name": f"tastestream-{role}", "service.version": version("tastestream")}
    sampler = ParentBased(TraceIdRatioBased(tracing.sample_ratio))
    provider = TracerProvider(sampler=sampler, resource=Resource.create(named), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(f"{tracing.endpoint.rstrip('/')}/v1/traces", timeout=_EXPORT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Tracer(provider)
