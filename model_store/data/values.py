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
_MAX_ID_CHARS = 256
"""As the service accepts."""
_UNITS = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (1e20, 1e9))
"""Numbers up to the first are in seconds, which reach it in the year 5138; then in milli-, micro- and nanoseconds."""


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
        ValueError: missing, empty, too long, of another type, or with control characters or lone surrogates.
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
    if len(found) > _MAX_ID_CHARS:
        raise ValueError(f"has {len(found):,} characters, of which the service takes {_MAX_ID_CHARS}")
    return found


def seconds(value: Any) -> float:
    """A time in Unix seconds, from ISO 8601 text or from a number whose size tells its unit: seconds to nanoseconds.

    A text without a time zone is UTC.

    Raises:
        ValueError: neither a number nor ISO 8601, or thousands of years away.
    """
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except OverflowError:
        number = math.inf
    except (TypeError, ValueError):
        number = _seconds_of_text(value)
    divisor = next((unit for least, unit in _UNITS if abs(number) < least), None)
    if divisor is None:
        raise ValueError(f"{str(value)[:40]!r} is not a time: give Unix seconds or ISO 8601")
    return number / divisor


def _seconds_of_text(value: Any) -> float:
    try:
        moment = datetime.fromisoformat(str(value).strip())
    except ValueError:
        return math.nan
    found = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return found if found < _UNITS[0][0] else math.nan


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
