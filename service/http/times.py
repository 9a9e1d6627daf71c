"""Times on the wire: RFC 3339 or Unix seconds in, RFC 3339 out; milliseconds since the Unix epoch inside."""

import re
import time
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import WithJsonSchema

FUTURE_MS = 24 * 3600 * 1000
"""How far ahead of this machine's clock a time may be."""

_RFC_3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:)(\d\d)(\.\d{1,9})? ?(?:([Zz]|UTC|GMT)|([+-](?:[01]\d|2[0-3])):?([0-5]\d))",
    re.ASCII,
)
"""With the zones that strftime, Ruby and SQL databases write: +0000, UTC, and a space before it."""
_COMMON = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII)
"""The usual form, which `datetime` parses directly. Every event has a time, so it takes this fast path."""
_NUMBER = re.compile(r"-?\d+(\.\d+)?", re.ASCII)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def parse_time(value: object, at_ms: int) -> int:
    """Milliseconds since the Unix epoch of an RFC 3339 text or of Unix seconds. `at_ms` is the current time.

    Raises:
        ValueError: neither of the two, before 1970, or more than `FUTURE_MS` ahead.
    """
    if isinstance(value, str):
        milliseconds: float = _parse_text(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        milliseconds = value * 1000
    else:
        raise ValueError("must be RFC 3339 text or Unix seconds")
    if milliseconds < 0:
        raise ValueError("is before 1970")
    if milliseconds > at_ms + FUTURE_MS:
        raise ValueError("is in the future (numbers are Unix seconds, not milliseconds)")
    return round(milliseconds)


def _parse_text(text: str) -> int:
    if _COMMON.fullmatch(text):
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    match = _RFC_3339.fullmatch(text)
    if match is None:
        hint = "; Unix seconds are a number, without quotes" if _NUMBER.fullmatch(text) else ""
        raise ValueError(f"must be RFC 3339 with a time zone, such as 2025-11-20T08:30:00Z{hint}")
    date, minute, second, fraction, utc, hours, minutes = match.groups()
    # RFC 3339 has leap seconds, datetime does not.
    leap = second == "60"
    zone = "+00:00" if utc else f"{hours}:{minutes}"
    moment = datetime.fromisoformat(f"{date}T{minute}{'59' if leap else second}{fraction or ''}{zone}")
    return round(moment.timestamp() * 1000) + (1000 if leap else 0)


def format_time(milliseconds: int) -> str:
    """RFC 3339 in UTC, with milliseconds."""
    text = datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


WireTime = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "format": "date-time"}, {"type": "number", "minimum": 0}],
            "description": "RFC 3339, or Unix seconds; at most a day ahead.",
        }
    ),
]
"""A field that `parse_time` parses."""
