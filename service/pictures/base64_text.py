"""Base64 in the forms that clients send: data URIs, line breaks, the URL-safe alphabet, missing padding."""

import binascii
from urllib.parse import unquote_to_bytes

from service.errors import BadPicture

SLACK = 1024
"""Characters allowed for the head of a data URI and a few line breaks."""
_STANDARD = bytes.maketrans(b"-_", b"+/")


def longest(max_bytes: int) -> int:
    """The maximum length of a text that may encode `max_bytes`: 4 characters per 3 bytes, a line break every 40."""
    return max_bytes * 4 // 3 * 21 // 20 + SLACK


def decode_base64(text: bytes, max_bytes: int) -> bytes:
    """Decode base64 or a data URI.

    Raises:
        BadPicture: not base64, or more than `max_bytes`.
    """
    content = _payload(text).translate(_STANDARD, b" \t\r\n\v\f").rstrip(b"=")
    try:
        decoded = binascii.a2b_base64(content + b"=" * (-len(content) % 4), strict_mode=True)
    except binascii.Error:
        raise BadPicture("base64: not base64") from None
    if len(decoded) > max_bytes:
        raise BadPicture(f"too_many_bytes: more than {max_bytes}")
    return decoded


def _payload(text: bytes) -> bytes:
    if text[:SLACK].lstrip()[:5].lower() != b"data:":
        return text
    head, comma, payload = text.partition(b",")
    if not comma or not head.rstrip().lower().endswith(b";base64"):
        raise BadPicture("base64: a data URI of another encoding; it must say ;base64 before its comma")
    return unquote_to_bytes(payload) if b"%" in payload else payload
