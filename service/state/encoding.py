"""Events and summaries as the store writes them: compact JSON arrays, trailing nulls left out.

A recents entry is `[item_id,type,timestamp_ms,value]`, a pending entry `<ms of acceptance>[event_id,
recommendation_id,context]<tab><recents entry>` (the script puts both together; JSON holds no raw tab),
with an `r` after the time when the event is folded again from the log, an `s` when it was dead-lettered, and then an
`e` when it is an exposure, which the recents never hold. A summary is
`<version>:<token>[updated_at_ms,model,prompt,text,events,[event ids],[[updated_at_ms,model,[event ids]],...],votes]`,
with an `r` after the token when the next fold begins with an empty text. The event ids are those folded
by this version, followed by those of earlier versions, newest first.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from service.errors import InvalidRequest
from service.state.records import Accepted, Event, Item, Summary, Version

ACCEPTED_NUMBERS: dict[int, Accepted] = {
    1: "accepted",
    2: "duplicate",
    3: "deleted",
    4: "backlog_full",
    5: "overloaded",
}


def pending_part(event: Event, *, exposure: bool = False) -> bytes:
    """What only the pending entry holds.

    Raises:
        InvalidRequest: a context that JSON can't hold (too deep, integers beyond 64 bits).
    """
    if event.context:
        fields: tuple[Any, ...] = (event.event_id, event.recommendation_id, dict(event.context))
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


def json_text(value: str) -> bytes:
    return orjson.dumps(value)


def pending_event(user_id: str, entry: bytes) -> Event:
    own, _, shown = entry.partition(b"\t")
    accepted, bracket, rest = own.partition(b"[")
    event_id, recommendation_id, context = _padded(orjson.loads(bracket + rest), 3)
    item_id, kind, timestamp_ms, value = _padded(orjson.loads(shown), 4)
    marks = {"refolded": b"r" in accepted, "exposure": b"e" in accepted}
    return Event(event_id, user_id, item_id, kind, timestamp_ms, value, recommendation_id, context, **marks)


def recents_events(user_id: str, entries: Iterable[bytes]) -> tuple[Event, ...]:
    return tuple(Event("", user_id, *_padded(orjson.loads(entry), 4)) for entry in entries)


def _padded(fields: list[Any], size: int) -> list[Any]:
    return fields + [None] * (size - len(fields))


def summary_body(summary: Summary) -> bytes:
    """All of `summary` but the version, which the script writes."""
    earlier = [(one.updated_at_ms, one.model, one.event_ids) for one in summary.earlier]
    own = (summary.updated_at_ms, summary.model, summary.prompt, summary.text, summary.events, summary.event_ids)
    return orjson.dumps((*own, earlier, summary.votes))


def summary(value: bytes) -> Summary | None:
    """None for b"", the store's word for no summary."""
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


def item(item_id: str, fields: Mapping[str, bytes]) -> Item:
    words = orjson.loads(fields["doc"])
    return Item(
        item_id=item_id,
        title=words.get("title", ""),
        description=words.get("description", ""),
        genres=tuple(words.get("genres", ())),
        tags=tuple(words.get("tags", ())),
        attributes=orjson.loads(fields["attr"]) if "attr" in fields else None,
        revision=int(fields["rev"]),
        picture=fields["pic"].decode() or None,
        picture_error=fields["err"].decode() or None,
        picture_url=fields.get("url", b"").decode() or None,
        summary=fields.get("sum", b"").decode(),
        summary_model=fields.get("by", b"").decode(),
        described="sf" in fields,
    )


def pairs(flat: list[bytes]) -> Mapping[str, bytes]:
    """Redis's flat list of fields and values as a mapping."""
    return {field.decode(): value for field, value in zip(flat[::2], flat[1::2], strict=True)}
