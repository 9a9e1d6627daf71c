"""Logs: one JSON object a line on stderr, with the request's id; never a secret, never a user's or an item's text."""

import logging
import sys
from contextvars import ContextVar
from typing import cast

import orjson
import structlog

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Stands in every line that is written for a request."""


def configure(*, json: bool = True, level: int = logging.INFO) -> None:
    """Set up structlog for this process; `json=False` writes lines for people."""
    shared: list[structlog.types.Processor] = [
        _add_request_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if json:
        structlog.configure(
            processors=[
                *shared,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(serializer=orjson.dumps),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(level),
            logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
            cache_logger_on_first_use=True,
        )
    else:
        structlog.configure(
            processors=[*shared, structlog.dev.ConsoleRenderer()],
            wrapper_class=structlog.make_filtering_bound_logger(level),
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
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
