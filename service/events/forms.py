"""The forms of a body that is read whole: JSON, and the three modes of CloudEvents."""

from collections.abc import Sequence
from typing import Any

from fastapi import Request

from service.errors import InvalidRequest, UnsupportedMedia
from service.events.cloudevents import CLOUD_EVENT, CLOUD_EVENT_BATCH, binary_attributes, is_json, read_cloud_event
from service.http.batches import check_count, unwrap
from service.http.wire import JSON, NDJSON, parse_json

_FIELD = "events"


async def read_values(request: Request, kind: str, limit: int) -> Sequence[Any]:
    """The values in a body of media type `kind` as `parse_events` reads them, each an event or an error.

    Raises:
        TastestreamError: not one of the forms, or of more than `limit` values; empty, but for a CloudEvents batch.
    """
    if kind == CLOUD_EVENT:
        return [read_cloud_event(parse_json(await request.body()))]
    if kind == CLOUD_EVENT_BATCH:
        return _read_cloud_events(parse_json(await request.body()), limit)
    attributes = binary_attributes(request.scope["headers"])
    if attributes is not None and is_json(kind):
        return [read_cloud_event({**attributes, "data": parse_json(await request.body())})]
    if kind != JSON:
        raise UnsupportedMedia(f"send {JSON}, {NDJSON}, {CLOUD_EVENT} or {CLOUD_EVENT_BATCH}")
    values = unwrap(parse_json(await request.body()), _FIELD)
    check_count(values, limit, _FIELD)
    return values


def _read_cloud_events(batch: Any, limit: int) -> list[Any]:
    if not isinstance(batch, list):
        raise InvalidRequest("must be a JSON array of CloudEvents")
    if batch:
        check_count(batch, limit, _FIELD)
    return [read_cloud_event(envelope) for envelope in batch]
