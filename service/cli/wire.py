"""Events in the form of `POST /events`, and JSON lines."""

import json
from typing import Any

from service.http.times import format_time
from service.state.records import Event


def wire_event(event: Event) -> dict[str, Any]:
    """The event's fields in the form of `POST /events`, without those it does not have."""
    fields = {
        "event_id": event.event_id,
        "user_id": event.user_id,
        "item_id": event.item_id,
        "type": event.type,
        "timestamp": format_time(event.timestamp_ms),
        "value": event.value,
        "recommendation_id": event.recommendation_id,
        "context": event.context,
    }
    return {name: value for name, value in fields.items() if value is not None}


def json_line(value: dict[str, Any]) -> str:
    """One line of ASCII, so that nothing in it can control a terminal."""
    return json.dumps(value, ensure_ascii=True)
