"""Single values in the forms that data sets use: terms, times, numbers and texts. No I/O."""

import json
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

_SEPARATORS = ("|", ";", ",")
_NO_TERMS = frozenset({"(no genres listed)", "none", "null", "n/a", "nan"})
_SURROGATES = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_LEAST_MILLISECONDS, _LEAST_MICROSECONDS = 1e11, 1e14
"""Seconds reach 1e11 in the year 5138."""


def terms(value: Any) -> tuple[str, ...]:
    """Genres or tags, given as an array or as a text: a JSON array, or terms separated by `|`, `;` or `,`.

    The first of these separators that occurs is used: `Sci-Fi, Fantasy|Drama` is two terms.

    Raises:
        ValueError: neither a text nor an array of texts or numbers.
    """
    if value is None:
        return ()
    if isinstance(value, str):
        return tuple(term for part in _split(value) if (term := text(part)) and term.lower() not in _NO_TERMS)
    if not isinstance(value, Sequence):
        raise ValueError("must be an array of texts, or one text with its terms separated by |")
    return tuple(term for part in value if part is not None and (term := text(part)))


def _split(value: str) -> Sequence[Any]:
    if value.lstrip().startswith("["):
        try:
            found = json.loads(value)
        except ValueError:
            found = None
        if isinstance(found, list):
            return found
    separator = next((one for one in _SEPARATORS if one in value), None)
    return value.split(separator) if separator else [value]


def text(value: Any) -> str:
    """A text or number as text, without surrounding space and lone surrogates, which UTF-8 can't hold; None is "".

    Raises:
        ValueError: neither a text nor a number.
    """
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"must be a text, not {_kind(value)}")
    return _SURROGATES.sub("", str(value)).strip()


def identity(value: Any) -> str:
    """An id: a text or a whole number.

    Raises:
        ValueError: missing, empty, of another type, or with control characters or lone surrogates.
    """
    if value is None or value == "":
        raise ValueError("is missing")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"must be a text or a whole number, not {_kind(value)}")
    found = str(value)
    if _SURROGATES.search(found):
        raise ValueError("holds half of a character (a lone surrogate), which UTF-8 can't hold")
    if _CONTROL.search(found):
        raise ValueError("holds a control character, such as a line break")
    return found


def seconds(value: Any) -> float:
    """A time in Unix seconds: from seconds, milliseconds or microseconds, depending on its size, or from ISO 8601 text.

    A text without a time zone is UTC.

    Raises:
        ValueError: neither a number nor ISO 8601.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        return _seconds_of_text(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is not a time: give Unix seconds or ISO 8601")
    if abs(number) >= _LEAST_MICROSECONDS:
        return number / 1e6
    return number / 1e3 if abs(number) >= _LEAST_MILLISECONDS else number


def _seconds_of_text(value: Any) -> float:
    try:
        moment = datetime.fromisoformat(str(value).strip())
    except ValueError:
        raise ValueError(f"{str(value)[:40]!r} is not a time: give Unix seconds or ISO 8601") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def number(value: Any) -> float:
    """A finite number; the decimal separator may be a comma.

    Raises:
        ValueError: not a finite number.
    """
    try:
        found = float(str(value).strip().replace(",", "."))
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise ValueError(f"{str(value)[:40]!r} is not a number")
    return found


def _kind(value: Any) -> str:
    names = {bool: "true or false", dict: "an object", list: "an array", float: "a fraction", type(None): "null"}
    return names.get(type(value), type(value).__name__)
