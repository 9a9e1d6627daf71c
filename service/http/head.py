"""Checks of a request's head that the parser does not make (RFC 9112), and the removal of an upgrade."""

import re
from collections.abc import Sequence
from functools import lru_cache

from service.errors import MalformedRequest

Headers = Sequence[tuple[bytes, bytes]]

_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+(?:%25[\w.~-]+)?\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]*)?")
_LONGEST_HOST = 262
"""A name of 253 characters, a final dot, a colon and a port, and a few more."""


def check_head(method: str, version: str, headers: Headers) -> None:
    """Refuse a head that is ambiguous, or that asks for what no HTTP origin server does.

    Args:
        version: for example "1.1".
        headers: names in lower case.

    Raises:
        MalformedRequest: `Host` is missing in HTTP/1.1, given twice or not a host; a transfer coding other than
            `chunked`; a version other than 1.0 and 1.1; CONNECT.
    """
    hosts = 0
    for name, value in headers:
        if name == b"host":
            hosts += 1
            if len(value) > _LONGEST_HOST or not _is_host(value):
                raise MalformedRequest("Host: not a host name or address, with or without a port", field="host")
        elif name == b"transfer-encoding" and (version != "1.1" or value.lower() != b"chunked"):
            raise MalformedRequest("Transfer-Encoding: only chunked, in HTTP/1.1", field="transfer-encoding")
    if hosts != 1 and (hosts or version == "1.1"):
        detail = "Host: more than one" if hosts else "Host: missing; HTTP/1.1 requires it"
        raise MalformedRequest(detail, field="host")
    if version not in ("1.1", "1.0"):
        raise MalformedRequest("not HTTP/1.1: another version")
    if method == "CONNECT":
        raise MalformedRequest("CONNECT: this is not a proxy")


@lru_cache(1024)
def _is_host(value: bytes) -> bool:
    return _HOST.fullmatch(value) is not None


def without_upgrade(method: bytes, url: bytes, version: str, headers: Headers) -> bytes:
    """The head of a request without the headers that ask for another protocol."""
    kept = [b"%b: %b\r\n" % header for header in headers if header[0] != b"upgrade"]
    return b"".join([b"%b %b HTTP/%b\r\n" % (method, url, version.encode()), *kept, b"\r\n"])
