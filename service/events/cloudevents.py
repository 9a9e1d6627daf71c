"""Reads CloudEvents 1.0: the event in an envelope. No I/O.

Follows the CloudEvents specification, its HTTP binding and its JSON format, version 1.0.2.
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
_PREFIX = b"ce-"
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_KIND = re.compile(NAME)
_VERSION = re.compile(r"v?[0-9]{1,9}([._-]?(alpha|beta|rc)[0-9]{0,9})?", re.IGNORECASE)
"""A version at the end of a type, such as `v1`, as the specification's primer recommends."""


def read_cloud_event(envelope: Any, max_bytes: int) -> Any:
    """The event in a parsed envelope as `parse_events` takes it, or the error that stands for it.

    Args:
        max_bytes: the largest size of `data_base64`, decoded.
    """
    if isinstance(envelope, dict):
        envelope = {name: value for name, value in envelope.items() if name in CloudEventIn.model_fields}
    try:
        return _unpack(validate(CloudEventIn, envelope), max_bytes)
    except TastestreamError as error:
        return error


def binary_attributes(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str] | None:
    """The attributes in a request's headers, or None if it is no CloudEvent.

    Raises:
        InvalidRequest: an attribute is given twice, or is not percent-encoded UTF-8.
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
    """The event id of a CloudEvent. A source contains no space, so different pairs have different ids."""
    readable = f"ce:{source} {id_}"
    if len(readable) <= MAX_CHARS:
        return readable
    return f"ce-digest:{blake2b(readable.encode(), digest_size=32).hexdigest()}"


def _unpack(envelope: CloudEventIn, max_bytes: int) -> dict[str, Any]:
    require_meaning(envelope.id, "id")
    data = _data(envelope, max_bytes)
    if "event_id" in data:
        raise InvalidRequest("data.event_id: a CloudEvent is identified by source and id", field="data.event_id")
    event = {**data, "event_id": identity(envelope.source, envelope.id)}
    if "type" not in data:
        event["type"] = _kind(envelope.type)
    if data.get("timestamp") is None and envelope.time is not None:
        try:
            event["timestamp"] = parse_time(envelope.time, now_ms()) / 1000
        except ValueError as error:
            raise InvalidRequest(f"time: {error}", field="time") from None
    return event


def _data(envelope: CloudEventIn, max_bytes: int) -> dict[str, Any]:
    if envelope.datacontenttype is not None and not _declares_json(envelope.datacontenttype):
        raise InvalidRequest("datacontenttype: must be JSON in UTF-8", field="datacontenttype")
    if envelope.data_base64 is None:
        if envelope.data is None:
            raise InvalidRequest("data: is missing; it holds the event", field="data")
        return envelope.data
    if envelope.data is not None:
        raise InvalidRequest("data_base64: give it or data, not both", field="data_base64")
    if len(envelope.data_base64) > 4 * (max_bytes // 3 + 1):
        raise InvalidRequest(f"data_base64: more than {max_bytes} bytes", field="data_base64")
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
            "type: its last part, not counting a version, is no event type; send com.example.like or "
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
