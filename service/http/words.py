"""Texts about faulty fields, which say what a field must be without terms of this program."""

from collections.abc import Mapping
from typing import Any

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


def must(kind: str, context: Mapping[str, Any], message: str) -> str:
    """The text for a validation error of pydantic's type `kind`, by default `message`."""
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(context["pattern"], message)
    return _TYPES.get(kind, message).format_map(context)
