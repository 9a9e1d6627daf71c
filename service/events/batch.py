"""From a parsed body to events: each is checked by itself, and those that are wrong are told apart. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from service.errors import InvalidRequest, TastestreamError
from service.events.schemas import EventIn
from service.http.batches import Rejection, reject
from service.http.wire import check_bytes, explain, refuse_unknown
from service.state.records import Event

_EVENTS = TypeAdapter(list[EventIn])
_FIELDS = frozenset(EventIn.model_fields)


@dataclass(frozen=True, slots=True)
class Batch:
    """`positions[i]` is the place of `events[i]` in what the caller sent."""

    events: list[Event]
    positions: list[int]
    rejected: list[Rejection]


def parse_events(raw: Sequence[Any], received_ms: int, context_bytes: int) -> Batch:
    """Check each of `raw` and turn the good ones into events.

    Args:
        raw: parsed JSON values; an exception stands for one that could not be parsed.
        received_ms: the time of events that carry none.
        context_bytes: the most that an event's context may take as JSON.
    """
    rejected: dict[int, Rejection] = {}
    positions: list[int] = []
    for index, value in enumerate(raw):
        if type(value) is dict and value.keys() <= _FIELDS:
            positions.append(index)
        else:
            rejected[index] = reject(index, _misshapen(value))
    models = _validate([raw[index] for index in positions], positions, rejected)
    events: list[Event] = []
    kept: list[int] = []
    for index, model in zip(positions, models, strict=True):
        if model is None:
            continue
        try:
            if model.context is not None:
                check_bytes(model.context, context_bytes, "context")
        except InvalidRequest as error:
            rejected[index] = reject(index, error)
            continue
        events.append(_event(model, received_ms))
        kept.append(index)
    return Batch(events, kept, [rejected[index] for index in sorted(rejected)])


def _misshapen(value: Any) -> TastestreamError:
    if isinstance(value, TastestreamError):
        return value
    try:
        refuse_unknown(value, _FIELDS)
    except InvalidRequest as error:
        return error
    raise AssertionError("only called for what is no object of known fields")


def _validate(raw: list[Any], positions: list[int], rejected: dict[int, Rejection]) -> Sequence[EventIn | None]:
    """One model per value, None for the wrong ones, whose first errors are added to `rejected`."""
    try:
        return _EVENTS.validate_python(raw)
    except ValidationError as failure:
        wrong: set[int] = set()
        for error in failure.errors(include_url=False, include_input=False, include_context=False):
            place = int(error["loc"][0])
            if place not in wrong:
                wrong.add(place)
                field, detail = explain(error, skip=1)
                problem = InvalidRequest(f"{field}: {detail}", field=field)
                rejected[positions[place]] = reject(positions[place], problem)
        good = iter(_EVENTS.validate_python([value for place, value in enumerate(raw) if place not in wrong]))
        return [None if place in wrong else next(good) for place in range(len(raw))]


def _event(model: EventIn, received_ms: int) -> Event:
    return Event(
        model.event_id or derived_id(model),
        model.user_id,
        model.item_id,
        model.type,
        received_ms if model.timestamp is None else model.timestamp,
        model.value,
        model.recommendation_id,
        model.context,
    )


def derived_id(model: EventIn) -> str:
    """An id that two events share when, and only when, all that was said of them is the same."""
    content = (
        model.user_id,
        model.item_id,
        model.type,
        model.timestamp,
        model.value,
        model.recommendation_id,
        model.context,
    )
    digest = blake2b(orjson.dumps(content, option=orjson.OPT_SORT_KEYS), digest_size=8)
    return f"content:{digest.hexdigest()}"
