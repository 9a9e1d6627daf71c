"""Events and summaries as the store writes them: compact JSON arrays without trailing nulls.

A recents entry is `[item_id,type,timestamp_ms,value]`, a pending entry `<ms of acceptance>[event_id,
recommendation_id,context,trace]<tab><recents entry>` (the script joins the two; JSON contains no raw tab). After the
time comes an `r` if the event is folded again from the log, an `s` if it was dead-lettered, and then an `e` if it is an
exposure, which is never among the recents.

A summary is
`<version>:<token>[updated_at_ms,model,prompt,text,events,[event ids],[[updated_at_ms,model,[event ids]],...],votes]`,
with an `r` after the token if the next fold begins with an empty text. The event ids are those folded
by this version, followed by those of earlier versions, newest first.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from service.errors import InvalidRequest
from service.state.records import Event, Item, Summary, Version

_OWN = ("event_id", "recommendation_id", "context", "trace")


def pending_part(event: Event, *, exposure: bool = False, trace: str | None = None) -> bytes:
    """The part of a pending entry that is not in a recents entry.

    Raises:
        InvalidRequest: a context that can't be written as JSON (too deep, integers beyond 64 bits).
    """
    if trace is not None:
        context = dict(event.context) if event.context else None
        fields: tuple[Any, ...] = (event.event_id, event.recommendation_id, context, trace)
    elif event.context:
        fields = (event.event_id, event.recommendation_id, dict(event.context))
    elif event.recommendation_id is not None:
        fields = (event.event_id, event.recommendation_id)
    else:
        fields = (event.event_id,)
    try:
        return b"e" * exposure + orjson.dumps(fields)
    except TypeError as error:
        raise InvalidRequest(f"not representable as JSON: {error}", field="context") from error


def recents_entry(event: Event) -> bytes:
    if event.value is None:
        return orjson.dumps((event.item_id, event.type, event.timestamp_ms))
    return orjson.dumps((event.item_id, event.type, event.timestamp_ms, event.value))


def pending_event(user_id: str, entry: bytes) -> Event:
    own, _, shown = entry.partition(b"\t")
    accepted, bracket, rest = own.partition(b"[")
    fields = dict(zip(_OWN, orjson.loads(bracket + rest), strict=False))
    event = Event("", user_id, *orjson.loads(shown))
    return event._replace(**fields, refolded=b"r" in accepted, exposure=b"e" in accepted)


def accepted_ms(entry: bytes) -> int | None:
    """When a pending event was accepted; None if it was folded or dead-lettered since."""
    time = entry[: entry.index(b"[")].removesuffix(b"e")
    return int(time) if time.isdigit() else None


def recents_events(user_id: str, entries: Iterable[bytes]) -> tuple[Event, ...]:
    return tuple(Event("", user_id, *orjson.loads(entry)) for entry in entries)


def summary_body(summary: Summary) -> bytes:
    """All of `summary` except the version, which the script writes."""
    earlier = [(one.updated_at_ms, one.model, one.event_ids) for one in summary.earlier]
    own = (summary.updated_at_ms, summary.model, summary.prompt, summary.text, summary.events, summary.event_ids)
    return orjson.dumps((*own, earlier, summary.votes))


def summary(value: bytes) -> Summary | None:
    """None for b"", with which the scripts say that a user has no summary."""
    if not value:
        return None
    body = value.index(b"[")
    number, voided = int(value[: value.index(b":")]), b"r" in value[:body]
    updated_at_ms, model, prompt, text, events, event_ids, earlier, *votes = orjson.loads(value[body:])
    versions = tuple(
        Version(number - age, at_ms, by, tuple(ids)) for age, (at_ms, by, ids) in enumerate(earlier, start=1)
    )
    return Summary(text, number, updated_at_ms, model, prompt, events, tuple(event_ids), versions, voided, *votes)


def item_words(item: Item) -> bytes:
    words = {"title": item.title, "description": item.description, "genres": item.genres, "tags": item.tags}
    return orjson.dumps({name: value for name, value in words.items() if value})


def item_attributes(item: Item) -> bytes:
    if not item.attributes:
        return b""
    try:
        return orjson.dumps(dict(item.attributes), option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise InvalidRequest(f"not representable as JSON: {error}", field="attributes") from error


def item(item_id: str, fields: Mapping[bytes, bytes]) -> Item:
    words = orjson.loads(fields[b"doc"])
    return Item(
        item_id=item_id,
        title=words.get("title", ""),
        description=words.get("description", ""),
        genres=tuple(words.get("genres", ())),
        tags=tuple(words.get("tags", ())),
        attributes=orjson.loads(fields[b"attr"]) if b"attr" in fields else None,
        revision=int(fields[b"rev"]),
        picture=fields[b"pic"].decode() or None,
        picture_error=fields[b"err"].decode() or None,
        picture_url=fields.get(b"url", b"").decode() or None,
        summary=fields.get(b"sum", b"").decode(),
        summary_model=fields.get(b"by", b"").decode(),
        described=b"sf" in fields,
        encoded=tuple(fields.get(b"tk", b"").decode().split()),
    )


def pairs(flat: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """The fields and values, or members and scores, of a flat list from Redis."""
    return zip(flat[::2], flat[1::2], strict=True)
