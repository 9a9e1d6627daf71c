"""Batches: many values in one body, accepted or rejected one by one."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from fastapi import Request

from service.errors import BatchTooLarge, InvalidRequest, TastestreamError
from service.http.hints import meant
from service.http.media import is_ndjson
from service.http.ndjson import ndjson_lines, parse_line
from service.http.parsing import count_values, read_value
from service.http.wire import refuse_unknown
from service.settings.limits import LimitSettings

_FIELDS_EXAMINED = 10


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why one event or item of a batch was not accepted; `index` counts from 0, `code` is stable.

    `retryable`: it may be accepted if it is sent again later.
    """

    index: int
    code: str
    detail: str
    field: str | None = None
    retryable: bool = False


def reject(index: int, error: TastestreamError) -> Rejection:
    return Rejection(index, error.code, error.detail, error.field, error.retry_after_s is not None)


async def read_batch(request: Request, limits: LimitSettings, limit: int, field: str) -> Sequence[Any]:
    """The values of a batch body: one object, an array, an object with the array in `field`, or NDJSON.

    The value of an NDJSON line that is not JSON is the error that it raised.

    Raises:
        TastestreamError: not a batch, empty, more than `limit` values, or more than `limits.json_values` in total.
    """
    if is_ndjson(request):
        values = await _read_lines(request, limits.json_values, limit, field)
    else:
        values = unwrap(await read_value(request, limits.json_values), field)
    check_count(values, limit, field)
    return values


def check_count(values: Sequence[Any], limit: int, field: str) -> None:
    """Limit a batch to 1..`limit` values.

    Raises:
        InvalidRequest: it is empty.
        BatchTooLarge: it has more.
    """
    if not values:
        raise InvalidRequest(f"{field}: the batch is empty", field=field)
    if len(values) > limit:
        raise _too_many(limit, field)


async def _read_lines(request: Request, most_values: int, limit: int, field: str) -> list[Any]:
    values: list[Any] = []
    async for line in ndjson_lines(request):
        if len(values) == limit:
            raise _too_many(limit, field)
        if isinstance(line, bytes):
            most_values -= await count_values(line, most_values)
        values.append(parse_line(line))
    return values


def unwrap(value: Any, field: str) -> list[Any]:
    """The values of a parsed body: one object, an array, or an object with the array in `field`."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict) and field in value:
        refuse_unknown(value, {field})
        if not isinstance(value[field], list):
            raise InvalidRequest(f"{field}: must be an array", field=field)
        return value[field]  # type: ignore[no-any-return]
    if isinstance(value, dict) and (name := _misnamed_array(value, field)):
        raise InvalidRequest(f"{name}: no such field; did you mean {field}?", field=name)
    return [value]


def _misnamed_array(value: dict[str, Any], field: str) -> str | None:
    """The name under which other services expect the array that belongs in `field` here."""
    # Fast path: every single event comes here, and most have no array.
    if list not in map(type, islice(value.values(), _FIELDS_EXAMINED)):
        return None
    arrays = (name for name in islice(value, _FIELDS_EXAMINED) if isinstance(value[name], list))
    return next((name for name in arrays if meant(name, {field})), None)


def _too_many(limit: int, field: str) -> BatchTooLarge:
    return BatchTooLarge(f"{field}: more than {limit} in one batch", field=field)
