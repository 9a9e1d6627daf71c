"""Events on the wire."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints

from service.http.batches import Rejection
from service.http.ids import Id
from service.http.times import WireTime
from service.http.wire import NAME, PRINTABLE, SPACELESS

KIND_CHARS = 32
EventKind = Annotated[str, StringConstraints(strict=True, max_length=KIND_CHARS, pattern=NAME)]

EVENT_EXAMPLE: dict[str, Any] = {"user_id": "u1", "item_id": "i7", "type": "like", "timestamp": "2025-11-20T08:30:00Z"}
CLOUD_EVENT_EXAMPLE: dict[str, Any] = {
    "specversion": "1.0",
    "id": "8f14e45f",
    "source": "/shop/web",
    "type": "com.example.shop.like",
    "time": "2025-11-20T08:30:00Z",
    "data": {"user_id": "u1", "item_id": "i7"},
}


class EventIn(BaseModel):
    """One interaction of a user with an item.

    Without `event_id`, an event is identified by its content including `timestamp`: the same content sent again is a
    duplicate. Without both, an event is a duplicate if it is sent again within a minute (`state.retry_window_s`) and
    the user's last such events about the item are the same as the first such events about it in the request. So a
    request that is sent again changes nothing, while like, dislike, like are three events. Equal events in one request
    are separate events.
    """

    model_config = ConfigDict(extra="forbid", title="Event", json_schema_extra={"examples": [EVENT_EXAMPLE]})

    event_id: Id | None = None
    user_id: Id
    item_id: Id
    type: EventKind = Field(
        "click", description="view, click, like, purchase, rating, dislike, ...: what each means is in docs/signals.md."
    )
    timestamp: WireTime | None = Field(
        None, description="When it happened; by default, and at the latest, the time of arrival."
    )
    value: Annotated[FiniteFloat, Field(strict=True)] | None = Field(None, description="Rating, price, seconds, ...")
    recommendation_id: Id | None = Field(None, description="The recommendation that led to it.")
    context: dict[str, Any] | None = Field(None, description="Anything else; stored with the event, limited in size.")


class EventBatchIn(BaseModel):
    """Several events, in the order in which they happened."""

    model_config = ConfigDict(extra="forbid", title="EventBatch")

    events: list[EventIn]


Attribute = Annotated[str, StringConstraints(strict=True, min_length=1, pattern=PRINTABLE)]
Source = Annotated[str, StringConstraints(strict=True, min_length=1, pattern=SPACELESS)]


class CloudEventIn(BaseModel):
    """A CloudEvent 1.0 whose `data` is an Event without `event_id`.

    `source` and `id` together become the event's id. If the data has no `type`, it is the last dot-separated part of
    the CloudEvent's `type` that is no version (`v1`); if it has no `timestamp`, it is `time`. `subject`, `dataschema`
    and extension attributes are ignored: a subject may be a user or an item.
    """

    model_config = ConfigDict(title="CloudEvent", json_schema_extra={"examples": [CLOUD_EVENT_EXAMPLE]})

    specversion: Literal["1.0"]
    id: Attribute
    source: Source = Field(description="A URI reference.")
    type: Attribute
    time: str | None = Field(None, json_schema_extra={"format": "date-time"})
    datacontenttype: str | None = Field(None, description="JSON: `application/json`, or a `+json` type.")
    data: dict[str, Any] | None = Field(None, description="An Event without `event_id`.")
    data_base64: str | None = Field(None, description="The same as base64 of its JSON, in place of `data`.")


@dataclass(slots=True)
class EventsAnswer:
    """The numbers of events and the rejections. Accepted events are in the state store."""

    accepted: int
    duplicates: int
    rejected: list[Rejection]


@dataclass(slots=True)
class StreamAnswer(EventsAnswer):
    """The answer to a stream of lines.

    `rejected` lists the first rejections, `rejected_total` counts all, `retryable_total` those to be sent again later.
    """

    rejected_total: int
    retryable_total: int


Note = Literal["unknown_item"]


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one event. If it was rejected, `code` says why, and `event_id` may be null.

    The `note` `unknown_item` says that the item is not in the catalogue: the event is stored, but is in no summary
    until the item is put.
    """

    index: int
    event_id: str | None
    outcome: Literal["accepted", "duplicate", "rejected"]
    code: str | None = None
    note: Note | None = None


@dataclass(slots=True)
class ResultsAnswer(EventsAnswer):
    """The answer to `?results=true`: the outcome of every event, in the order of the request.

    `unknown_items` counts those with the note; it is null while the state store does not answer.
    """

    results: list[Result]
    unknown_items: int | None = None
