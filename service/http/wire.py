"""Between bytes and models: bodies in, JSON out, and the words for what was wrong."""

from collections.abc import Sequence, Set
from typing import Any, TypeVar

import orjson
from fastapi import Request, Response
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from service.errors import InvalidRequest
from service.http.hints import hints
from service.http.media import JSON as JSON
from service.http.media import NDJSON as NDJSON
from service.http.media import is_ndjson, unsupported
from service.http.parsing import parse_body, read_body
from service.http.words import must
from service.settings import LimitSettings

M = TypeVar("M", bound=BaseModel)
CONTEXT_BYTES = 4096
"""The most that the `context` of an event or of a recommendation takes as JSON."""
_NAME_CHARS = 100
_OBJECT_TYPES = frozenset({"dict_type", "model_type"})
_LISTED_ERRORS = 20
_LEVELS_AROUND = 16
"""More than any answer, or what is stored, puts around a caller's value; orjson writes some 250 levels in all."""


class Json(Response):
    """An answer rendered by orjson; dataclasses and plain data."""

    media_type = JSON

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


async def read_json(request: Request, limits: LimitSettings) -> Any:
    """The body, parsed.

    Raises:
        UnsupportedMedia: the content type is not JSON.
        MalformedBody: not JSON in UTF-8.
        BodyTooLarge: more than `limits.json_values` values.
    """
    if is_ndjson(request):
        raise unsupported("newline-delimited JSON", JSON)
    return await parse_body(await read_body(request), limits.json_values)


def validate(model: type[M], raw: Any) -> M:
    """`raw` as a `model`.

    Raises:
        InvalidRequest: it is none; `field` names the first culprit, `errors` lists some more.
    """
    refuse_unknown(raw, model.model_fields.keys())
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False)) from None


def refuse_unknown(raw: Any, known: Set[str]) -> None:
    """Refuse an object with fields that are not `known`, by name, before a model lists every one of them.

    Raises:
        InvalidRequest: not an object, or with a field too many.
    """
    if not isinstance(raw, dict):
        raise InvalidRequest("must be a JSON object")
    if unknown := raw.keys() - known:
        if meant := hints(unknown, known - raw.keys()):
            names = [name[:_NAME_CHARS] for name in meant]
            detail = f"{', '.join(names)}: no such field; did you mean {', '.join(meant.values())}?"
            raise InvalidRequest(detail, field=names[0])
        name = min(unknown)[:_NAME_CHARS]
        raise InvalidRequest(f"{name}: no such field; there are {', '.join(sorted(known))}", field=name)


def invalid(errors: Sequence[ErrorDetails]) -> InvalidRequest:
    """The answer to what pydantic found."""
    listed = [{"field": field, "detail": detail} for field, detail in map(explain, errors[:_LISTED_ERRORS])]
    field, detail = explain(errors[0])
    return InvalidRequest(f"{field}: {detail}" if field else detail, field=field or None, extensions={"errors": listed})


def explain(error: ErrorDetails) -> tuple[str, str]:
    """Field and reason of one validation error."""
    context = error.get("ctx", {})
    # A field that the check of a whole object found is not in the place of the error.
    place = (*error["loc"], *context.get("below", ()))
    reason = must(error["type"], context, error["msg"])
    given = error.get("input")
    if error["type"] == "string_type":
        reason += _instead(given)
    elif error["type"] in _OBJECT_TYPES and given == []:
        reason += "; an empty one is {}"
    return ".".join(str(part)[:_NAME_CHARS] for part in place), reason


def _instead(given: Any) -> str:
    if isinstance(given, bool) or not isinstance(given, int | float | None):
        return ""
    return ", not null" if given is None else "; put the number in quotes"


def check_bytes(value: Any, limit: int, field: str) -> None:
    """Hold a JSON value to `limit` bytes.

    Raises:
        InvalidRequest: it takes more, or is nested too deeply to be written again.
    """
    wrapped = value
    for _ in range(_LEVELS_AROUND):
        wrapped = [wrapped]
    try:
        size = len(orjson.dumps(wrapped)) - 2 * _LEVELS_AROUND
    except TypeError:
        raise InvalidRequest(f"{field}: nested too deeply", field=field) from None
    if size > limit:
        raise InvalidRequest(f"{field}: larger than {limit} bytes of JSON", field=field)
