"""Content types: which ones are accepted, and what to send instead of others."""

import re

from fastapi import Request

from service.errors import UnsupportedMedia
from service.http.cors import TRUSTED_ORIGIN
from service.http.headers import header

JSON = "application/json"
NDJSON = "application/x-ndjson"
NDJSON_NAMES = frozenset(
    {
        NDJSON,
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonl",
        "application/jsonlines",
        "application/x-jsonlines",
        "application/json-lines",
        "application/stream+json",
        "application/x-json-stream",
        "text/ndjson",
        "text/x-ndjson",
        "text/jsonl",
    }
)
_JSON_SUBTYPES = frozenset({"json", "x-json"})
_UTF_8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_CHARSET = re.compile(r""";\s*charset\s*=\s*["']?([^"';\s]*)""", re.IGNORECASE)
_CLOUD_EVENT = "ce-specversion"
_SHOWN_CHARS = 100
_INSTEAD = {
    "": f"the header Content-Type is missing; send Content-Type: {JSON} "
    "(Python's requests sends it with json=, not with data=)",
    "application/x-www-form-urlencoded": f"forms are not supported; send JSON with Content-Type: {JSON} "
    "(curl -d, PHP's CURLOPT_POSTFIELDS and axios with a string send a form unless the header is set)",
    "multipart/form-data": f"forms are not supported; send JSON with Content-Type: {JSON} and pictures as image_base64",
    "text/plain": f"text/plain is not supported; send the same with Content-Type: {JSON} "
    f"(fetch and sendBeacon call a string text/plain; a Blob of type {JSON} is JSON)",
    "text/csv": f"CSV is not supported; send {NDJSON} with one JSON object per line",
    "application/json-seq": f"JSON text sequences (RFC 7464) are not supported; send {NDJSON}",
}


def content_kind(request: Request) -> str:
    """The body's media type, in lower case and without parameters.

    Web pages of an allowed origin may send JSON as `text/plain`. All other callers must declare JSON, because browsers
    send `text/plain` from any page without a preflight, even to a gateway on the reader's own machine. CloudEvents in
    binary mode may omit it: their headers need a preflight.

    Raises:
        UnsupportedMedia: it is missing, not supported or not UTF-8.
    """
    given = header(request.scope, b"content-type")
    if given == JSON:
        return JSON
    kind = media_type(given)
    if kind == "text/plain" and request.scope.get(TRUSTED_ORIGIN):
        return JSON
    if not kind and _CLOUD_EVENT in request.headers:
        return JSON
    if kind in _INSTEAD:
        raise UnsupportedMedia(_INSTEAD[kind], field="content-type")
    return kind


def media_type(text: str) -> str:
    """A content type in lower case and without parameters, of which only `charset` is examined.

    Raises:
        UnsupportedMedia: not UTF-8.
    """
    kind, _, parameters = text.partition(";")
    charset = _CHARSET.search(text) if parameters else None
    if charset is not None and charset[1] and charset[1].lower() not in _UTF_8:
        name = charset[1][:_SHOWN_CHARS]
        raise UnsupportedMedia(f"charset {name} is not supported; encode the body as UTF-8", field="content-type")
    return kind.strip().lower()


def is_json(kind: str) -> bool:
    """Whether a media type without parameters declares one JSON value."""
    subtype = kind.partition("/")[2]
    return (subtype in _JSON_SUBTYPES or subtype.endswith("+json")) and kind not in NDJSON_NAMES


def is_ndjson(request: Request) -> bool:
    """Whether the body is newline-delimited JSON rather than JSON.

    Raises:
        UnsupportedMedia: neither of the two, or not UTF-8.
    """
    kind = content_kind(request)
    if kind in NDJSON_NAMES:
        return True
    if not is_json(kind):
        raise unsupported(kind, JSON, NDJSON)
    return False


def unsupported(kind: str, *instead: str) -> UnsupportedMedia:
    """The error for the media type `kind`, which names the types to send `instead`."""
    *most, last = instead
    choice = f"{', '.join(most)} or {last}" if most else last
    return UnsupportedMedia(f"{kind[:_SHOWN_CHARS]} is not supported; send {choice}, in UTF-8", field="content-type")
