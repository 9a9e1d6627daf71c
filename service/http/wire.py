"""Between bytes and models: bodies in, JSON out, and what is said of faulty fields, without terms of this program."""

from collections.abc import Callable, Sequence, Set
from typing import Any, TypeVar

import orjson
from fastapi import Request, Response
from pydantic import BaseModel, BeforeValidator, ValidationError
from pydantic_core import ErrorDetails

from service.errors import InvalidRequest
from service.http.hints import hints
from service.http.media import JSON, is_ndjson, unsupported
from service.http.parsing import read_value
from service.settings.limits import LimitSettings

M = TypeVar("M", bound=BaseModel)
CONTEXT_BYTES = 4096
"""The largest `context` of an event or a recommendation, as JSON."""
_NAME_CHARS = 100
_LISTED_ERRORS = 20
_LEVELS_AROUND = 16
"""More than any response or stored record puts around a caller's value; orjson writes about 250 levels in all."""

PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f]+$"
ID = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
SPACELESS = r"^[^\s\x00-\x1f\x7f-\x9f]+$"
NAME = r"^[a-z][a-z0-9_.-]*$"
NOT_BLANK = r"\S"

_PATTERNS = {
    PRINTABLE: "must not contain control characters",
    ID: "must not contain control characters or be blank",
    SPACELESS: "must not contain spaces or control characters",
    NAME: "must consist of lower-case letters, digits, '_', '.' and '-', and begin with a letter",
    NOT_BLANK: "must not be blank",
}
_TYPES = {
    "missing": "is missing",
    "extra_forbidden": "no such field",
    "string_type": "must be a string",
    "string_too_short": "must have at least {min_length} character(s)",
    "string_too_long": "must have at most {max_length} characters",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "list_type": "must be an array",
    "too_long": "must have at most {max_length} entries",
}


class Json(Response):
    """A response of dataclasses or plain data, serialized by orjson."""

    media_type = JSON

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


async def read_json(request: Request, limits: LimitSettings) -> Any:
    """The JSON value of the body.

    Raises:
        UnsupportedMedia: the content type is not JSON.
        MalformedBody: not JSON in UTF-8.
        BodyTooLarge: more than `limits.json_values` values.
    """
    if is_ndjson(request):
        raise unsupported("newline-delimited JSON", JSON)
    return await read_value(request, limits.json_values)


def validate(model: type[M], raw: Any) -> M:
    """`raw` as a `model`.

    Raises:
        InvalidRequest: it does not match; `field` names the first faulty field, `errors` lists the first few.
    """
    refuse_unknown(raw, model.model_fields.keys())
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False)) from None


def refuse_unknown(raw: Any, known: Set[str]) -> None:
    """Refuse an object with unknown fields before pydantic would list every one of them.

    Raises:
        InvalidRequest: not an object, or a field is not `known`.
    """
    if not isinstance(raw, dict):
        raise InvalidRequest("must be a JSON object")
    if unknown := raw.keys() - known:
        if meant := hints(unknown, known - raw.keys()):
            names = [name[:_NAME_CHARS] for name in meant]
            detail = f"{', '.join(names)}: no such field; did you mean {', '.join(meant.values())}?"
            raise InvalidRequest(detail, field=names[0])
        name = min(unknown)[:_NAME_CHARS]
        raise InvalidRequest(f"{name}: no such field; the fields are {', '.join(sorted(known))}", field=name)


def invalid(errors: Sequence[ErrorDetails]) -> InvalidRequest:
    """The error for what pydantic found."""
    listed = [{"field": field, "detail": detail} for field, detail in map(explain, errors[:_LISTED_ERRORS])]
    field, detail = explain(errors[0])
    return InvalidRequest(f"{field}: {detail}" if field else detail, field=field or None, extensions={"errors": listed})


def null_is(default: Callable[[], Any], kind: Any) -> BeforeValidator:
    """Reads `null` as `default()`, because serializers of Java, Go and C# write it for a field that was not set.

    `kind` is the type of all other values, for the schema.
    """
    return BeforeValidator(lambda value: default() if value is None else value, json_schema_input_type=kind | None)


def explain(error: ErrorDetails) -> tuple[str, str]:
    """Field and reason of one validation error."""
    context = error.get("ctx", {})
    # A validator of a whole object names the field that it found in `below`.
    # After a key that is wrong itself, pydantic puts "[key]".
    place = (*(part for part in error["loc"] if part != "[key]"), *context.get("below", ()))
    kind, given = error["type"], error.get("input")
    if kind == "string_pattern_mismatch":
        reason = _PATTERNS.get(context["pattern"], error["msg"])
    else:
        reason = _TYPES.get(kind, error["msg"]).format_map(context)
    if kind == "string_type" and given is None:
        reason += ", not null"
    elif kind == "string_type" and isinstance(given, int | float) and not isinstance(given, bool):
        reason += "; put the number in quotes"
    elif kind in ("dict_type", "model_type") and given == []:
        reason += "; an empty one is {}"
    return ".".join(str(part)[:_NAME_CHARS] for part in place), reason


def check_bytes(value: Any, limit: int, field: str) -> None:
    """Limit a JSON value to `limit` bytes.

    Raises:
        InvalidRequest: it is larger, or nested too deeply to be written again.
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
