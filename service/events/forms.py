"""The forms of a body that is not a stream: JSON, and the three modes of CloudEvents."""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from fastapi import Request

from service.errors import InvalidRequest
from service.events.cloudevents import CLOUD_EVENT, CLOUD_EVENT_BATCH, binary_attributes, read_cloud_event
from service.http.batches import check_count, unwrap
from service.http.body_limit import limit_body
from service.http.media import JSON, NDJSON, is_json, unsupported
from service.http.parsing import read_value
from service.settings.limits import LimitSettings

_FIELD = "events"
_READ_AT_ONCE = 20
"""CloudEvents that are read before other requests get their turn."""


class EventValues(NamedTuple):
    """The values of a body as `parse_events` takes them, each an event or an error.

    `binary`: the body is a CloudEvent in binary mode.
    """

    values: Sequence[Any]
    binary: bool = False


async def read_values(request: Request, kind: str, limits: LimitSettings) -> EventValues:
    """The values of a body of media type `kind`.

    Raises:
        TastestreamError: the body has none of the forms, has more than `batch_events` values, or is empty without
            being a CloudEvents batch.
    """
    limit_body(request.scope, limits.events_bytes)
    if kind == CLOUD_EVENT:
        return EventValues([read_cloud_event(await read_value(request, limits.json_values), limits.line_bytes)])
    if kind == CLOUD_EVENT_BATCH:
        return EventValues(await _read_cloud_events(await read_value(request, limits.json_values), limits))
    if not is_json(kind):
        raise unsupported(kind, JSON, NDJSON, CLOUD_EVENT, CLOUD_EVENT_BATCH)
    attributes = binary_attributes(request.scope["headers"])
    if attributes is not None:
        envelope = {**attributes, "data": await read_value(request, limits.json_values)}
        return EventValues([read_cloud_event(envelope, limits.line_bytes)], binary=True)
    values = unwrap(await read_value(request, limits.json_values), _FIELD)
    check_count(values, limits.batch_events, _FIELD)
    return EventValues(values)


async def _read_cloud_events(batch: Any, limits: LimitSettings) -> list[Any]:
    if not isinstance(batch, list):
        raise InvalidRequest("must be a JSON array of CloudEvents")
    if batch:
        check_count(batch, limits.batch_events, _FIELD)
    events: list[Any] = []
    for envelope in batch:
        # base64 hides the number of values.
        if len(events) % _READ_AT_ONCE == _READ_AT_ONCE - 1:
            await asyncio.sleep(0)
        events.append(read_cloud_event(envelope, limits.line_bytes))
    return events
