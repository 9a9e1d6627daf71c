"""Base64 as people have it: in a data URI, wrapped, URL-safe, without padding, with a newline at its end."""

import binascii
from urllib.parse import unquote_to_bytes

from service.errors import BadPicture

SLACK = 1024
"""Characters that a data URI's head and a few line ends may add."""
_STANDARD = bytes.maketrans(b"-_", b"+/")


def longest(max_bytes: int) -> int:
    """Characters of the longest text that may hold `max_bytes`: four for three, and line ends after every 40."""
    return max_bytes * 4 // 3 * 21 // 20 + SLACK


def decode_base64(text: bytes, max_bytes: int) -> bytes:
    """The bytes that `text` stands for.

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
    start = text[:SLACK].lstrip()
    if start[:5].lower() != b"data:":
        return text
    head, comma, payload = text.partition(b",")
    if not comma or not head.rstrip().lower().endswith(b";base64"):
        raise BadPicture("base64: a data URI of another encoding; it must say ;base64 before its comma")
    return unquote_to_bytes(payload) if b"%" in payload else payload
