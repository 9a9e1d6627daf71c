"""Events and summaries as the store writes them: compact JSON arrays, trailing nulls left out.

A pending entry is `<ms of acceptance>[event_id,item_id,type,timestamp_ms,value,recommendation_id,context]`
(the script puts the time before it), a recents entry `[item_id,type,timestamp_ms,value]`, a summary
`<version>:<token>[updated_at_ms,model,prompt,last_event_id,text]`.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from service.errors import InvalidRequest
from service.state.records import Accepted, Event, Summary

ACCEPTED_NUMBERS: dict[int, Accepted] = {1: "accepted", 2: "duplicate", 3: "deleted", 4: "backlog_full"}


def digest(event_id: str) -> bytes:
    """The 8 bytes that stand for `event_id` in the dedupe key."""
    return hashlib.blake2b(event_id.encode(), digest_size=8).digest()


def pending_entry(event: Event) -> bytes:
    """Raises InvalidRequest for a context that JSON can't hold (too deep, integers beyond 64 bits)."""
    return _dump(
        event.event_id,
        event.item_id,
        event.type,
        event.timestamp_ms,
        event.value,
        event.recommendation_id,
        dict(event.context) if event.context else None,
    )


def recents_entry(event: Event) -> bytes:
    return _dump(event.item_id, event.type, event.timestamp_ms, event.value)


def json_text(value: str) -> bytes:
    return orjson.dumps(value)


def pending_event(user_id: str, entry: bytes) -> Event:
    event_id, *rest = orjson.loads(entry[entry.index(b"[") :])
    return _event(event_id, user_id, rest)


def recents_events(user_id: str, entries: Iterable[bytes]) -> tuple[Event, ...]:
    return tuple(_event("", user_id, orjson.loads(entry)) for entry in entries)


def _event(event_id: str, user_id: str, fields: list[Any]) -> Event:
    item_id, kind, timestamp_ms, value, recommendation_id, context = fields + [None] * (6 - len(fields))
    return Event(event_id, user_id, item_id, kind, timestamp_ms, value, recommendation_id, context)


def summary_body(updated_at_ms: int, model: str, prompt: str, last_event_id: str, text: str) -> bytes:
    return orjson.dumps([updated_at_ms, model, prompt, last_event_id, text])


def summary(value: bytes) -> Summary | None:
    """None for b"", the store's word for no summary."""
    if not value:
        return None
    version, _, _ = value.partition(b":")
    updated_at_ms, model, prompt, last_event_id, text = orjson.loads(value[value.index(b"[") :])
    return Summary(text, int(version), updated_at_ms, model, prompt, last_event_id)


def pairs(flat: list[bytes]) -> Mapping[str, bytes]:
    """Redis's flat list of fields and values as a mapping."""
    return {field.decode(): value for field, value in zip(flat[::2], flat[1::2], strict=True)}


def _dump(*fields: Any) -> bytes:
    last = max(index for index, field in enumerate(fields) if field is not None)
    try:
        return orjson.dumps(fields[: last + 1])
    except TypeError as error:
        raise InvalidRequest(f"not representable as JSON: {error}", field="context") from error
