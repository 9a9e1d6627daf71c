"""What the store did with events, as it is reported to callers."""

from collections.abc import Collection, Sequence
from dataclasses import fields
from typing import Any, Literal

from service.errors import BacklogFull, InvalidRequest, Overloaded, TastestreamError, UserDeleted
from service.events.batch import Batch
from service.events.schemas import EventsAnswer, Result
from service.http.batches import Rejection, reject
from service.state.records import Accepted

RETRY_AFTER_S = 5.0
_STORED: dict[Accepted, Literal["accepted", "duplicate"]] = {"accepted": "accepted", "duplicate": "duplicate"}
_ALL_STORED = frozenset(_STORED)


def refusal(outcome: Accepted) -> TastestreamError | None:
    """Why the store refused an event; None if it has it. If the error has `retry_after_s`, it may be sent again."""
    if outcome == "backlog_full":
        detail = "too many events of the user wait to be folded; send them again later"
        return BacklogFull(detail, retry_after_s=RETRY_AFTER_S)
    if outcome == "overloaded":
        return Overloaded("too many events wait to be folded; send them again later", retry_after_s=RETRY_AFTER_S)
    if outcome == "deleted":
        return UserDeleted("the user was deleted after this event was received")
    return None


def rejections(batch: Batch, outcomes: Sequence[Accepted]) -> list[Rejection]:
    """The events of `batch` that were not stored, in their order in the request."""
    if _ALL_STORED.issuperset(outcomes):
        return batch.rejected
    refused = [
        reject(position, error)
        for position, outcome in zip(batch.positions, outcomes, strict=True)
        if (error := refusal(outcome)) is not None
    ]
    return sorted([*batch.rejected, *refused], key=lambda rejection: rejection.index)


def results(
    batch: Batch, outcomes: Sequence[Accepted], rejected: Sequence[Rejection], unknown: Collection[str]
) -> list[Result]:
    """The outcome of every event of `batch`; the items `unknown` are not in the catalogue."""
    ids = {position: event.event_id for position, event in zip(batch.positions, batch.events, strict=True)}
    refused = [Result(one.index, ids.get(one.index), "rejected", one.code) for one in rejected]
    stored = [
        Result(at, event.event_id, _STORED[outcome], note="unknown_item" if event.item_id in unknown else None)
        for at, event, outcome in zip(batch.positions, batch.events, outcomes, strict=True)
        if outcome in _STORED
    ]
    return sorted([*refused, *stored], key=lambda result: result.index)


def nothing_acceptable(answer: EventsAnswer, unit: str, error: TastestreamError | None) -> TastestreamError:
    """`error`, by default one about the first rejection, with the answer as its extensions; a `unit` is one value."""
    first = answer.rejected[0]
    detail = f"nothing was acceptable; {unit} {first.index}: {first.detail}"
    error = error or InvalidRequest(detail, field=first.field)
    error.extensions = extensions(answer)
    return error


def extensions(answer: EventsAnswer) -> dict[str, Any]:
    """The fields of an answer, for an error that reports what was done before it."""
    return {field.name: getattr(answer, field.name) for field in fields(answer)}
