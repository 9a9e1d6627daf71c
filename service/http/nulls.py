"""`null` where a field has a default: what serializers of Java, Go and C# write for a field that was not set."""

from collections.abc import Callable
from typing import Any

from pydantic import BeforeValidator


def null_is(default: Callable[[], Any], kind: Any) -> BeforeValidator:
    """Reads `null` as `default()`; `kind` is the type of all else, for the schema."""
    return BeforeValidator(lambda value: default() if value is None else value, json_schema_input_type=kind | None)
