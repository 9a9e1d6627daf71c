"""Events on the wire."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints

from service.http.ids import Id
from service.http.times import WireTime

EventKind = Annotated[str, StringConstraints(strict=True, max_length=32, pattern=r"^[a-z][a-z0-9_.-]*$")]

EVENT_EXAMPLE: dict[str, Any] = {"user_id": "u1", "item_id": "i7", "type": "like", "timestamp": "2026-11-20T08:30:00Z"}


class EventIn(BaseModel):
    """One interaction of a user with an item.

    Without `event_id` one is derived from the content: the same content sent again is a duplicate,
    so give interactions that are otherwise alike their `timestamp` or an id.
    """

    model_config = ConfigDict(extra="forbid", title="Event", json_schema_extra={"examples": [EVENT_EXAMPLE]})

    event_id: Id | None = None
    user_id: Id
    item_id: Id
    type: EventKind = Field("click", description="view, click, like, purchase, dislike, skip, ...")
    timestamp: WireTime | None = Field(None, description="When it happened; by default, when it arrived.")
    value: Annotated[FiniteFloat, Field(strict=True)] | None = Field(None, description="Rating, price, seconds, ...")
    recommendation_id: Id | None = Field(None, description="The recommendation that led to it.")
    context: dict[str, Any] | None = Field(None, description="Anything else; kept with the event, bounded in bytes.")


class EventBatchIn(BaseModel):
    """Several events, in the order in which they happened."""

    model_config = ConfigDict(extra="forbid", title="EventBatch")

    events: list[EventIn]
