"""What the OpenAPI page says of a request that brings events."""

from typing import Any

from service.events.cloudevents import CLOUD_EVENT, CLOUD_EVENT_BATCH
from service.events.schemas import CLOUD_EVENT_EXAMPLE, EVENT_EXAMPLE
from service.http.media import JSON, NDJSON

_EVENT = {"$ref": "#/components/schemas/EventIn"}
_CLOUD_EVENT = {"$ref": "#/components/schemas/CloudEventIn"}


def _attribute(name: str, description: str, example: str) -> dict[str, Any]:
    # Without an `example`: the interactive page would send it, and make each event one in binary mode.
    return {
        "name": f"ce-{name}",
        "in": "header",
        "required": False,
        "description": f"{description} Such as `{example}`.",
        "schema": {"type": "string"},
    }


TAKEN: dict[int | str, dict[str, Any]] = {
    202: {
        "headers": {
            "Retry-After": {
                "description": "Some of `rejected` are `retryable`: when to send them, or everything, again.",
                "schema": {"type": "integer"},
            }
        }
    },
    204: {"description": "All was taken; for CloudEvents in binary mode, and with `Prefer: return=minimal`."},
}

REQUEST: dict[str, Any] = {
    "parameters": [
        {
            "name": "results",
            "in": "query",
            "required": False,
            "description": "Answer with the fate of every event, too; not for streams of lines.",
            "schema": {"type": "string", "enum": ["true", "1", "false", "0"], "default": "false"},
        },
        {
            "name": "Prefer",
            "in": "header",
            "required": False,
            "description": "`return=minimal`: an empty 204 when all was taken. `return=representation`: never one. "
            "`handling=strict`: a 429 when something is to be sent again. RFC 7240.",
            "schema": {"type": "string"},
        },
        _attribute(
            "specversion",
            "CloudEvents in binary mode: the body is `data`, headers are the attributes. Needs all but `ce-time`.",
            "1.0",
        ),
        _attribute("id", "Binary mode; percent-encoded UTF-8, as all of these.", "8f14e45f"),
        _attribute("source", "Binary mode; a URI reference.", "/shop/web"),
        _attribute("type", "Binary mode; its last part is the event's type.", "com.example.shop.like"),
        _attribute("time", "Binary mode; RFC 3339.", "2025-11-20T08:30:00Z"),
    ],
    "requestBody": {
        "required": True,
        "description": "One event, an array, an object with `events`, lines of any number, or CloudEvents 1.0.",
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
