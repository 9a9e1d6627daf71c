"""Logs: one JSON object per line on stderr, with the ids of request and trace; never secrets, never users' texts."""

import logging
import sys
from contextvars import ContextVar
from typing import cast

import orjson
import structlog

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Is in every line that is logged for a request."""
TRACE: ContextVar[tuple[str, str | None] | None] = ContextVar("trace", default=None)
"""The trace id and the span id of the lines that are logged meanwhile; no span id if only the caller traces."""
_LINES = "\n\t"
_ESCAPED_BY_JSON = "".join(map(chr, range(0x20)))


def configure(*, json: bool) -> None:
    """Set up structlog for this process: JSON, or text for people."""
    processors: list[structlog.types.Processor] = [
        _add_ids,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    factory: structlog.BytesLoggerFactory | structlog.PrintLoggerFactory
    if json:
        processors += [
            structlog.processors.format_exc_info,
            _escaping(_ESCAPED_BY_JSON),
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ]
        factory = structlog.BytesLoggerFactory(sys.stderr.buffer)
    else:
        # structlog's own tracebacks show the variables of each frame, among them keys and texts of users.
        renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        processors += [structlog.processors.format_exc_info, _escaping(""), renderer]
        factory = structlog.PrintLoggerFactory(sys.stderr)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )


def _escaping(left: str) -> structlog.types.Processor:
    """Escapes what can't be printed: what a caller sent must neither begin a line nor command a terminal.

    Args:
        left: letters that the renderer escapes by itself; lines of tracebacks are left as well.
    """

    def escape(
        logger: structlog.types.WrappedLogger, method: str, entry: structlog.types.EventDict
    ) -> structlog.types.EventDict:
        for name, value in entry.items():
            if isinstance(value, str) and not value.isprintable():
                entry[name] = _escaped(value, _LINES if name == "exception" else left)
        return entry

    return escape


def _escaped(text: str, left: str) -> str:
    return "".join(letter if letter.isprintable() or letter in left else ascii(letter)[1:-1] for letter in text)


def _add_ids(
    logger: structlog.types.WrappedLogger, method: str, entry: structlog.types.EventDict
) -> structlog.types.EventDict:
    if (request_id := REQUEST_ID.get()) is not None:
        entry["request_id"] = request_id
    if (trace := TRACE.get()) is not None:
        entry["trace_id"], span_id = trace
        if span_id is not None:
            entry["span_id"] = span_id
    return entry


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of the module `name`."""
    return cast("structlog.stdlib.BoundLogger", structlog.get_logger(module=name))
