"""Ids for events that come without one, and the digests that represent ids among a user's last events.

An event with a timestamp is identified by its content: the same content is the same event. An event without one is also
identified by its arrival: it is a duplicate if it arrives again within `retry_window_s` and no other event about its
item arrived in between. Its id holds what is needed to decide this, in the 8 bytes that are also its digest: 2 of the
item, 3 of the content and of the number of equal events before it in its request, 3 of the second of its arrival. The
accept script compares them.
"""

import re
from hashlib import blake2b

import orjson

_ARRIVED = "arrived:"
_BY_ARRIVAL = re.compile(rf"{_ARRIVED}([0-9a-f]{{16}})")
_ITEM_BYTES, _CONTENT_BYTES, _SECOND_BYTES = 2, 3, 3


def packed(content: tuple[object, ...]) -> bytes:
    """The same bytes for two events if and only if they have the same content."""
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)


def of_content(content: bytes) -> str:
    return f"content:{blake2b(content, digest_size=8).hexdigest()}"


def of_arrival(item_id: str, content: bytes, before: int, received_ms: int) -> str:
    """The id of an event without a time that follows `before` equal ones in its request."""
    item, said = _hash(item_id.encode(), _ITEM_BYTES), _hash(b"%d %b" % (before, content), _CONTENT_BYTES)
    second = (received_ms // 1000) % (1 << 8 * _SECOND_BYTES)
    return _ARRIVED + (item + said + second.to_bytes(_SECOND_BYTES, "big")).hex()


def digest(event_id: str) -> bytes:
    """The 8 bytes that represent `event_id` in the dedupe key."""
    if match := _BY_ARRIVAL.fullmatch(event_id):
        return bytes.fromhex(match[1])
    return _hash(event_id.encode(), 8)


def _hash(value: bytes, size: int) -> bytes:
    return blake2b(value, digest_size=size).digest()
