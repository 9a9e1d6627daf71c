"""Ids: opaque strings of 1..256 characters, without control characters.

They are compared exactly as sent: not trimmed, not case-folded and not normalized. Joiners (U+200C, U+200D), which
Persian and Indic languages need, are kept. In a path, an id is one percent-encoded segment: `a/b` is `/items/a%2Fb`.
"""

from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import Path
from pydantic import BeforeValidator, StringConstraints
from pydantic_core import PydanticCustomError

from service.errors import InvalidRequest
from service.http.wire import ID, PRINTABLE

MAX_CHARS = 256

Id = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=MAX_CHARS, pattern=ID)]

_WORDS = (
    "null",
    "undefined",
    "none",
    "nil",
    "nan",
    "NaN",
    "[object object]",
    "[object Object]",
    "(null)",
    "(none)",
    "(not set)",
    "<null>",
    "<nil>",
    "<none>",
    "<no value>",
    "00000000-0000-0000-0000-000000000000",
)
NOTHING = frozenset(spelled for word in _WORDS for spelled in (word, word.upper(), word.capitalize()))
"""What JavaScript, Python, Go, Java, C, analytics tools and phones without consent write for a missing id."""
_TEMPLATES = (("{{", "}}"), ("${", "}"), ("<%", "%>"), ("%%", "%%"))
CLOSINGS = frozenset(closing[-1] for _, closing in _TEMPLATES)
"""The last characters of placeholders."""


def means_nothing(given: str) -> bool:
    """Whether a non-empty id is a client's word for a missing one, or an unfilled placeholder."""
    return given in NOTHING or any(given.startswith(one) and given.endswith(other) for one, other in _TEMPLATES)


def require_meaning(given: str, field: str) -> None:
    """Refuse an id that means nothing, because all callers without an id would share it.

    Raises:
        InvalidRequest: `given` means nothing.
    """
    if means_nothing(given):
        detail = "a word for a missing id (null, undefined, {{...}}); send a real id, or omit the call"
        raise InvalidRequest(f"{field}: {detail}", field=field)


def _decode(segment: Any) -> str:
    try:
        return unquote(segment.encode("ascii").decode(), errors="strict")
    except UnicodeError:
        raise PydanticCustomError("id", "must be percent-encoded UTF-8") from None


_LIMITS: dict[str, Any] = {"min_length": 1, "max_length": MAX_CHARS, "pattern": PRINTABLE}
UserPath = Annotated[str, Path(openapi_examples={"user": {"value": "u1"}}, **_LIMITS), BeforeValidator(_decode)]
ItemPath = Annotated[str, Path(openapi_examples={"item": {"value": "i7"}}, **_LIMITS), BeforeValidator(_decode)]
NewItemPath = Annotated[
    str, Path(openapi_examples={"item": {"value": "i7"}}, **_LIMITS | {"pattern": ID}), BeforeValidator(_decode)
]
"""The path of an item to be stored. Blank ids are refused here, but items that have one can be read and deleted."""
