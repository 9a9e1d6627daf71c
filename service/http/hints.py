"""Hints for unknown fields: the names that common clients use for our fields."""

import re
from collections.abc import Collection, Iterable
from heapq import nsmallest

_OURS: dict[str, str] = {
    "user_id": "uid user userid anonymousid distinctid clientid visitorid customerid memberid deviceid profileid",
    "item_id": "item productid contentid articleid sku id skuid asin gtin objectid movieid",
    "type": "event eventname eventtype action actiontype interaction kind name behavior verb",
    "timestamp": "time ts date datetime createdat eventtime eventtimestamp occurredat originaltimestamp sentat",
    "event_id": "id messageid insertid eventuuid uuid idempotencykey",
    "value": "price rating score quantity weight amount revenue duration",
    "context": "properties props metadata params data payload extra",
    "recommendation_id": "recommid requestid rankid",
    "title": "name productname headline label itemname",
    "description": "body text summary content desc",
    "genres": "genre category categories",
    "tags": "tag keywords labels",
    "attributes": "properties metadata features fields",
    "image_url": "image imageurl imagelink picture thumbnail photo imagesrc coverurl",
    "image_base64": "imagedata imagebytes picturebase64",
    "candidates": "items itemids candidateids products",
    "k": "n limit count num topk size numresults numitems pagesize maxresults",
    "exclude_seen": "filterseen excludeviewed excludeinteracted",
    "filters": "filter where",
    "deadline_ms": "timeout timeoutms deadline",
    "explain": "debug",
    "events": "batch records messages interactions data",
    "items": "batch records products catalog catalogue data",
}
_PLAIN = re.compile(r"[^a-z0-9]")
_MAX_EXAMINED = 32
_MAX_HINTS = 4


def _plain(name: str) -> str:
    return _PLAIN.sub("", name[:100].lower())


_ALIASES: dict[str, list[str]] = {}
for _ours, _others in _OURS.items():
    for _name in (_plain(_ours), *_others.split()):
        _ALIASES.setdefault(_name, []).append(_ours)


def meant(name: str, known: Collection[str]) -> str | None:
    """The field of `known` that `name` probably means: another spelling, or the name in another service."""
    return next((ours for ours in _ALIASES.get(_plain(name), ()) if ours in known), None)


def hints(unknown: Iterable[str], known: Collection[str]) -> dict[str, str]:
    """The fields that the first few of `unknown` probably mean, each field once."""
    found: dict[str, str] = {}
    for name in nsmallest(_MAX_EXAMINED, unknown):
        ours = meant(name, known)
        if ours is not None and ours not in found.values() and len(found) < _MAX_HINTS:
            found[name] = ours
    return found
