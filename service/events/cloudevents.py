"""CloudEvents 1.0: from an envelope to the event that it carries. No I/O.

The rules are those of the CloudEvents specification, its HTTP binding and its JSON format, version 1.0.2.
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any
from urllib.parse import unquote_to_bytes

from service.errors import InvalidRequest, MalformedBody, TastestreamError, UnsupportedMedia
from service.events.schemas import KIND_CHARS, CloudEventIn
from service.http.ids import MAX_CHARS, require_meaning
from service.http.media import is_json, media_type
from service.http.parsing import parse_json
from service.http.times import now_ms, parse_time
from service.http.wire import NAME, validate

CLOUD_EVENT = "application/cloudevents+json"
CLOUD_EVENT_BATCH = "application/cloudevents-batch+json"
REQUIRED = frozenset({"specversion", "id", "source", "type"})
DATA_BYTES = 64 * 1024
_PREFIX = b"ce-"
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_KIND = re.compile(NAME)
_VERSION = re.compile(r"v?[0-9]{1,9}([._-]?(alpha|beta|rc)[0-9]{0,9})?", re.IGNORECASE)
"""What the specification's primer has producers put at the end of a type, such as `v1`."""


def read_cloud_event(envelope: Any, most_bytes: int = DATA_BYTES) -> Any:
    """The event in a parsed envelope as `parse_events` reads it, or the error that stands for it.

    Args:
        most_bytes: the most that `data_base64` may hold.
    """
    try:
        return _unpack(validate(CloudEventIn, _without_extensions(envelope)), most_bytes)
    except TastestreamError as error:
        return error


def binary_attributes(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str] | None:
    """The attributes in a request's headers, or None where the headers make it no CloudEvent.

    Raises:
        InvalidRequest: one is given twice, or is not percent-encoded UTF-8.
    """
    given = [(name[len(_PREFIX) :].decode("latin-1"), value) for name, value in headers if name.startswith(_PREFIX)]
    if REQUIRED.isdisjoint(name for name, _ in given):
        return None
    attributes: dict[str, str] = {}
    for name, value in given:
        if name in attributes:
            raise InvalidRequest(f"ce-{name}: given twice", field=f"ce-{name}")
        attributes[name] = _decode_header(name, value)
    return attributes


def identity(source: str, id_: str) -> str:
    """The event id that stands for a CloudEvent. A source holds no space, so no two pairs make the same."""
    readable = f"ce:{source} {id_}"
    if len(readable) <= MAX_CHARS:
        return readable
    return f"ce-digest:{blake2b(readable.encode(), digest_size=32).hexdigest()}"


def _without_extensions(envelope: Any) -> Any:
    if not isinstance(envelope, dict):
        return envelope
    return {name: value for name, value in envelope.items() if name in CloudEventIn.model_fields}


def _unpack(envelope: CloudEventIn, most_bytes: int) -> dict[str, Any]:
    require_meaning(envelope.id, "id")
    data = _data(envelope, most_bytes)
    if "event_id" in data:
        raise InvalidRequest("data.event_id: a CloudEvent is known by its source and id", field="data.event_id")
    event = {**data, "event_id": identity(envelope.source, envelope.id)}
    if "type" not in data:
        event["type"] = _kind(envelope.type)
    if data.get("timestamp") is None and envelope.time is not None:
        event["timestamp"] = _seconds(envelope.time)
    return event


def _seconds(time: str) -> float:
    try:
        return parse_time(time, now_ms()) / 1000
    except ValueError as error:
        raise InvalidRequest(f"time: {error}", field="time") from None


def _data(envelope: CloudEventIn, most_bytes: int) -> dict[str, Any]:
    if envelope.datacontenttype is not None and not _declares_json(envelope.datacontenttype):
        raise InvalidRequest("datacontenttype: must be JSON in UTF-8", field="datacontenttype")
    if envelope.data_base64 is None:
        if envelope.data is None:
            raise InvalidRequest("data: is missing; it holds the event", field="data")
        return envelope.data
    if envelope.data is not None:
        raise InvalidRequest("data_base64: give it or data, not both", field="data_base64")
    if len(envelope.data_base64) > 4 * (most_bytes // 3 + 1):
        raise InvalidRequest(f"data_base64: more than {most_bytes} bytes", field="data_base64")
    try:
        data = parse_json(b64decode(envelope.data_base64, validate=True))
    except (binascii.Error, ValueError):
        raise InvalidRequest("data_base64: not base64", field="data_base64") from None
    except MalformedBody as error:
        raise InvalidRequest(f"data_base64: {error.detail}", field="data_base64") from None
    if not isinstance(data, dict):
        raise InvalidRequest("data_base64: must hold a JSON object", field="data_base64")
    return data


def _declares_json(content_type: str) -> bool:
    try:
        return is_json(media_type(content_type))
    except UnsupportedMedia:
        return False


def _kind(cloud_type: str) -> str:
    parts = cloud_type.split(".")
    while len(parts) > 1 and _VERSION.fullmatch(parts[-1]):
        parts.pop()
    kind = parts[-1]
    if len(kind) > KIND_CHARS or not _KIND.fullmatch(kind):
        detail = (
            "type: what follows its last dot, but for a version, is no event type; send com.example.like or "
            "com.example.like.v1, or type in the data"
        )
        raise InvalidRequest(detail, field="type")
    return kind


def _decode_header(name: str, value: bytes) -> str:
    unquoted = _QUOTED.sub(lambda quoted: _ESCAPED.sub(rb"\1", quoted[1]), value)
    try:
        return unquote_to_bytes(unquoted).decode()
    except UnicodeDecodeError:
        raise InvalidRequest(f"ce-{name}: must be percent-encoded UTF-8", field=f"ce-{name}") from None
