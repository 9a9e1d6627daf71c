"""The part of a request's context that the ranker is shown. No I/O."""

from collections.abc import Mapping
from typing import Any

MOST_SHOWN = 8
Situation = tuple[tuple[str, str], ...]


def situation(context: Mapping[str, Any] | None) -> Situation:
    """The first `MOST_SHOWN` texts, numbers and booleans of the context in order of name; nested values are left out.

    Sorted by name, so that the order of the request changes neither the prompt nor the cache key.
    """
    shown = ((name, _text(value)) for name, value in sorted((context or {}).items()))
    return tuple((name, text) for name, text in shown if name.strip() and text)[:MOST_SHOWN]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int | float) else ""
