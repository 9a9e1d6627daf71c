"""The context of a request, as the ranker is shown it: names and values of the situation. No I/O."""

from collections.abc import Mapping
from typing import Any

MOST_SHOWN = 8
Situation = tuple[tuple[str, str], ...]


def situation(context: Mapping[str, Any] | None) -> Situation:
    """The first `MOST_SHOWN` texts, numbers and truth values of the context, by name; nothing nested.

    By name, so that the same context in another order is the same prompt, and finds the same cached scores.
    """
    shown = ((name, _text(value)) for name, value in sorted((context or {}).items()))
    return tuple((name, text) for name, text in shown if name.strip() and text)[:MOST_SHOWN]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int | float) else ""
