"""The OpenAPI description of a request with events."""

from collections.abc import Mapping
from typing import Any

from service.events.cloudevents import CLOUD_EVENT, CLOUD_EVENT_BATCH
from service.events.schemas import CLOUD_EVENT_EXAMPLE, EVENT_EXAMPLE
from service.http.media import JSON, NDJSON

_EVENT = {"$ref": "#/components/schemas/EventIn"}
_CLOUD_EVENT = {"$ref": "#/components/schemas/CloudEventIn"}
_TEXT = {"type": "string"}


def _parameter(name: str, where: str, description: str, schema: Mapping[str, Any] = _TEXT) -> dict[str, Any]:
    return {"name": name, "in": where, "required": False, "description": description, "schema": schema}


def _attribute(name: str, description: str, example: str) -> dict[str, Any]:
    # Without an `example`: the interactive page would send it, and make each event one in binary mode.
    return _parameter(f"ce-{name}", "header", f"{description} Such as `{example}`.")


TAKEN: dict[int | str, dict[str, Any]] = {
    202: {
        "headers": {
            "Retry-After": {
                "description": "When to send `retryable` rejections again, or the whole request.",
                "schema": {"type": "integer"},
            }
        }
    },
    204: {"description": "Nothing was rejected; for CloudEvents in binary mode, and with `Prefer: return=minimal`."},
}

REQUEST: dict[str, Any] = {
    "parameters": [
        _parameter(
            "results",
            "query",
            "Return the outcome of every event; not for streams of lines.",
            {"type": "string", "enum": ["true", "1", "false", "0"], "default": "false"},
        ),
        _parameter(
            "Prefer",
            "header",
            "`return=minimal`: an empty 204 if nothing was rejected. `return=representation`: never an empty answer. "
            "`handling=strict`: a 429 if events must be sent again. RFC 7240.",
        ),
        _attribute(
            "specversion",
            "CloudEvents in binary mode: the body is `data`, headers are the attributes. Only `ce-time` is optional.",
            "1.0",
        ),
        _attribute("id", "Binary mode; percent-encoded UTF-8, like all of these.", "8f14e45f"),
        _attribute("source", "Binary mode; a URI reference.", "/shop/web"),
        _attribute("type", "Binary mode; its last part is the event's type.", "com.example.shop.like"),
        _attribute("time", "Binary mode; RFC 3339.", "2025-11-20T08:30:00Z"),
    ],
    "requestBody": {
        "required": True,
        "description": "One event, an array, an object with `events`, any number of lines, or CloudEvents 1.0.",
        "content": {
            JSON: {
                "schema": {
                    "anyOf": [
                        _EVENT,
                        {"type": "array", "items": _EVENT, "minItems": 1},
                        {"$ref": "#/components/schemas/EventBatchIn"},
                    ]
                },
                "examples": {
                    "one": {"summary": "One event", "value": EVENT_EXAMPLE},
                    "array": {"summary": "An array", "value": [EVENT_EXAMPLE, EVENT_EXAMPLE | {"item_id": "i8"}]},
                    "events": {"summary": "An object", "value": {"events": [EVENT_EXAMPLE]}},
                },
            },
            NDJSON: {
                "schema": {"type": "string"},
                "example": '{"user_id":"u1","item_id":"i7","type":"like"}\n{"user_id":"u1","item_id":"i8"}\n',
            },
            CLOUD_EVENT: {
                "schema": _CLOUD_EVENT,
                "examples": {"structured": {"summary": "Structured mode", "value": CLOUD_EVENT_EXAMPLE}},
            },
            CLOUD_EVENT_BATCH: {
                "schema": {"type": "array", "items": _CLOUD_EVENT},
                "examples": {
                    "batched": {
                        "summary": "Batched mode",
                        "value": [CLOUD_EVENT_EXAMPLE, CLOUD_EVENT_EXAMPLE | {"id": "c9f0f895"}],
                    }
                },
            },
        },
    },
}
