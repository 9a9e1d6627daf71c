"""Logs: one JSON object per line on stderr, with the request's id; never secrets, never texts of users or items."""

import logging
import sys
from contextvars import ContextVar
from typing import cast

import orjson
import structlog

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Is in every line that is logged for a request."""


def configure(*, json: bool) -> None:
    """Set up structlog for this process: JSON, or text for people."""
    processors: list[structlog.types.Processor] = [
        _add_request_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    factory: structlog.BytesLoggerFactory | structlog.PrintLoggerFactory
    if json:
        processors += [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ]
        factory = structlog.BytesLoggerFactory(sys.stderr.buffer)
    else:
        processors.append(structlog.dev.ConsoleRenderer())
        factory = structlog.PrintLoggerFactory(sys.stderr)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )


def _add_request_id(
    logger: structlog.types.WrappedLogger, method: str, entry: structlog.types.EventDict
) -> structlog.types.EventDict:
    if (request_id := REQUEST_ID.get()) is not None:
        entry["request_id"] = request_id
    return entry


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of the module `name`."""
    return cast("structlog.stdlib.BoundLogger", structlog.get_logger(module=name))
