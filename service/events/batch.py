"""Turns parsed values into events. Each value is checked on its own; invalid ones are rejected. No I/O."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from service.errors import InvalidRequest, TastestreamError
from service.events.schemas import EventIn
from service.http.batches import Rejection, reject
from service.http.ids import CLOSINGS, NOTHING, require_meaning
from service.http.times import now_ms, parse_time
from service.http.wire import CONTEXT_BYTES, check_bytes, explain, refuse_unknown
from service.state import ids
from service.state.records import Event

PARSED_AT_ONCE = 250
_EVENTS = TypeAdapter(list[EventIn])
_FIELDS = frozenset(EventIn.model_fields)
_SUSPICIOUS = NOTHING | CLOSINGS


@dataclass(frozen=True, slots=True)
class Batch:
    """`positions[i]` is the position of `events[i]` in the request."""

    events: list[Event]
    positions: list[int]
    rejected: list[Rejection]


async def parse_batch(raw: Sequence[Any], received_ms: int, first: int = 0, alike: Counter[int] | None = None) -> Batch:
    """Like `parse_events`, in groups, between which other requests get their turn."""
    alike = Counter() if alike is None else alike
    batch = parse_events(raw[:PARSED_AT_ONCE], received_ms, first, alike)
    for start in range(PARSED_AT_ONCE, len(raw), PARSED_AT_ONCE):
        await asyncio.sleep(0)
        group = parse_events(raw[start : start + PARSED_AT_ONCE], received_ms, first + start, alike)
        batch.events.extend(group.events)
        batch.positions.extend(group.positions)
        batch.rejected.extend(group.rejected)
    return batch


def parse_events(raw: Sequence[Any], received_ms: int, first: int = 0, alike: Counter[int] | None = None) -> Batch:
    """Check each of `raw` and turn the valid ones into events.

    Args:
        raw: parsed JSON values; an exception stands for one that could not be parsed.
        received_ms: the time of events that have none.
        first: the position of `raw[0]` in the request.
        alike: counts the request's events that have neither id nor time, by their content.
    """
    checked_ms = now_ms()
    alike = Counter() if alike is None else alike
    batch = Batch([], [], [])
    for index, value in enumerate(_validate(raw), first):
        if isinstance(value, TastestreamError):
            # Not raised again: its traceback would refer to this frame, a cycle for the garbage collector.
            batch.rejected.append(reject(index, value))
            continue
        try:
            event = _event(value, received_ms, checked_ms, alike)
        except TastestreamError as error:
            batch.rejected.append(reject(index, error))
        else:
            batch.events.append(event)
            batch.positions.append(index)
    return batch


def _validate(raw: Sequence[Any]) -> Sequence[EventIn | TastestreamError]:
    """One model or error per value; in a single call if all are valid."""
    if all(type(value) is dict and value.keys() <= _FIELDS for value in raw):
        try:
            return _EVENTS.validate_python(raw)
        except ValidationError:
            pass
    return [_validate_one(value) for value in raw]


def _validate_one(value: Any) -> EventIn | TastestreamError:
    if isinstance(value, TastestreamError):
        return value
    try:
        refuse_unknown(value, _FIELDS)
        return EventIn.model_validate(value)
    except InvalidRequest as error:
        return error
    except ValidationError as failure:
        field, detail = explain(failure.errors(include_url=False)[0])
        return InvalidRequest(f"{field}: {detail}", field=field)


def _event(model: EventIn, received_ms: int, checked_ms: int, alike: Counter[int]) -> Event:
    user_id, item_id, event_id = model.user_id, model.item_id, model.event_id
    timestamp_ms, context = None, model.context
    if model.timestamp is not None:
        try:
            timestamp_ms = parse_time(model.timestamp, checked_ms)
        except ValueError as error:
            raise InvalidRequest(f"timestamp: {error}", field="timestamp") from None
    # One quick check for every event; only a suspicious one is checked in detail.
    if not _SUSPICIOUS.isdisjoint((user_id, item_id, user_id[-1], item_id[-1])):
        require_meaning(user_id, "user_id")
        require_meaning(item_id, "item_id")
    if event_id is not None:
        require_meaning(event_id, "event_id")
    if context is not None:
        check_bytes(context, CONTEXT_BYTES, "context")
    kind, value, recommendation_id = model.type, model.value, model.recommendation_id
    if event_id is None and timestamp_ms is None:
        content = ids.packed((user_id, item_id, kind, value, recommendation_id, context))
        before = alike[hash(content)]
        alike[hash(content)] += 1
        event_id = ids.of_arrival(item_id, content, before, received_ms)
        more = (value, recommendation_id, context)
        return Event(event_id, user_id, item_id, kind, received_ms, *more, by_arrival=True)
    if event_id is None:
        event_id = ids.of_content(ids.packed((user_id, item_id, kind, timestamp_ms, value, recommendation_id, context)))
    # An event time in the future would remain the newest until then.
    happened_ms = received_ms if timestamp_ms is None else min(timestamp_ms, checked_ms)
    return Event(event_id, user_id, item_id, kind, happened_ms, value, recommendation_id, context)
