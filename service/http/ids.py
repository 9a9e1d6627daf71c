"""Ids: opaque strings of 1..256 characters, any but control characters.

In a path an id is one percent-encoded segment: `a/b` is `/items/a%2Fb`.
"""

from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import Path
from pydantic import BeforeValidator, StringConstraints
from pydantic_core import PydanticCustomError

from service.http.words import PRINTABLE

MAX_CHARS = 256

Id = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=MAX_CHARS, pattern=PRINTABLE)]


def _decode(segment: Any) -> str:
    try:
        return unquote(segment.encode("ascii").decode(), errors="strict")
    except UnicodeError:
        raise PydanticCustomError("id", "must be percent-encoded UTF-8") from None


_LIMITS: dict[str, Any] = {"min_length": 1, "max_length": MAX_CHARS, "pattern": PRINTABLE}
UserPath = Annotated[str, Path(openapi_examples={"user": {"value": "u1"}}, **_LIMITS), BeforeValidator(_decode)]
ItemPath = Annotated[str, Path(openapi_examples={"item": {"value": "i7"}}, **_LIMITS), BeforeValidator(_decode)]
