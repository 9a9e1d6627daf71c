"""From bytes to JSON values: limits are checked before parsing, and what is not JSON is explained."""

import asyncio
import re
from typing import Any

import orjson
from fastapi import Request
from starlette.requests import ClientDisconnect

from service.errors import BodyTooLarge, MalformedBody

BOM = b"\xef\xbb\xbf"
_SMALL = 64 * 1024
_WORDS = re.compile(rb"\s*(NaN|-?Infinity|undefined|None|True|False)\b")


async def read_body(request: Request) -> bytes:
    """The whole body. Faster than Starlette's `Request.body`, which goes through two generators.

    Raises:
        ClientDisconnect: the caller left before the end.
    """
    pieces: list[bytes] = []
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(pieces)


def parse_json(body: bytes) -> Any:
    """The value of a JSON text in UTF-8, with or without a byte order mark.

    Raises:
        MalformedBody: not JSON; the detail says what to send instead.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if body.startswith(BOM):
            return parse_json(body[len(BOM) :])
        raise MalformedBody(f"not JSON: {_explain(body, error)}") from None


async def read_value(request: Request, most_values: int) -> Any:
    """The JSON value of the body; a body that would block the event loop for long is refused unparsed.

    Raises:
        ClientDisconnect: the caller left before the end.
        MalformedBody: not JSON in UTF-8.
        BodyTooLarge: more than `most_values` values.
    """
    body = await read_body(request)
    # A short body is parsed quickly, whatever is in it.
    if len(body) > min(_SMALL, most_values):
        await count_values(body, most_values)
    return parse_json(body)


async def count_values(body: bytes, most: int) -> int:
    """An upper bound of the number of values in a JSON text, found without parsing it.

    Raises:
        BodyTooLarge: more than `most`.
    """
    if (rough := _marks(body)) <= most:
        return rough
    # Commas and brackets inside strings are not values. Each step is short, and other requests run between the steps.
    await asyncio.sleep(0)
    outside = body.replace(rb"\\", b"")
    await asyncio.sleep(0)
    outside = outside.replace(rb"\"", b"")
    await asyncio.sleep(0)
    if outside.count(b'"') <= 4 * most:
        outside = b"".join(outside.split(b'"')[::2])
        await asyncio.sleep(0)
        if (exact := _marks(outside)) <= most:
            return exact
    raise BodyTooLarge("body: too many JSON values; send them in several requests", field="body")


def _marks(text: bytes) -> int:
    return 1 + len(text) - len(text.translate(None, b"[{,"))


def _explain(body: bytes, error: orjson.JSONDecodeError) -> str:
    # For bytes that are not UTF-8, orjson reports a position from the start and may mention surrogates.
    if "UTF-8" in error.msg:
        return _not_utf8(body)
    if b"\x00" in body[:4]:
        return "the body is UTF-16 or UTF-32; encode it as UTF-8"
    if "surrogate" in error.msg:
        return f"half of a surrogate pair (\\uD800 to \\uDFFF) {_place(error)}; a string was cut inside a character"
    no_value = error.msg == "unexpected character, expected a JSON value"
    if no_value and (word := _WORDS.match(error.doc[error.pos : error.pos + 12].encode())):
        return f"{word[1].decode()} is not a JSON value {_place(error)}; send null, true or false, or omit the field"
    if error.msg.startswith("unexpected content after"):
        return f"more than one value {_place(error)}; send an array, or one value per line as application/x-ndjson"
    if not body.strip():
        return "the body is empty"
    if error.pos == 0 and body[:1] == b"\x1e":
        return "JSON text sequences (RFC 7464) are not supported; send application/x-ndjson"
    return f"{error.msg} {_place(error)}"


def _place(error: orjson.JSONDecodeError) -> str:
    return f"at line {error.lineno}, column {error.colno}"


def _not_utf8(body: bytes) -> str:
    if body.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "the body is UTF-16; encode it as UTF-8"
    if body.startswith(b"\x1f\x8b"):
        return "the body is gzip; send the header Content-Encoding: gzip with it"
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return f"byte 0x{body[error.start]:02x} at position {error.start} is not UTF-8; encode the body as UTF-8"
    return "not UTF-8"
