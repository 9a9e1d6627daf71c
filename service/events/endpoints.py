"""`POST /events`."""

from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from service.errors import (
    BacklogFull,
    BatchTooLarge,
    BodyTimeout,
    BodyTooLarge,
    InvalidRequest,
    MalformedBody,
    Overloaded,
    StateUnavailable,
    TastestreamError,
    Unauthorized,
    UnsupportedMedia,
    UserDeleted,
)
from service.events.batch import Batch, parse_events
from service.events.schemas import EVENT_EXAMPLE
from service.http.batches import BatchAnswer, Rejection, read_batch, reject
from service.http.problems import documented
from service.http.times import now_ms
from service.http.wire import JSON, NDJSON, Json
from service.metrics import Metrics
from service.parts import parts_of
from service.state.records import Accepted

router = APIRouter(tags=["events"])

_RETRY_AFTER_S = 5.0
_BODY = {
    "requestBody": {
        "required": True,
        "description": "One event, an array, an object with `events`, or newline-delimited JSON.",
        "content": {
            JSON: {
                "schema": {
                    "anyOf": [
                        {"$ref": "#/components/schemas/EventIn"},
                        {"type": "array", "items": {"$ref": "#/components/schemas/EventIn"}, "minItems": 1},
                        {"$ref": "#/components/schemas/EventBatchIn"},
                    ]
                },
                "examples": {
                    "one": {"summary": "One event", "value": EVENT_EXAMPLE},
                    "array": {"summary": "An array", "value": [EVENT_EXAMPLE, EVENT_EXAMPLE | {"item_id": "i8"}]},
                    "events": {"summary": "An object", "value": {"events": [EVENT_EXAMPLE]}},
                },
            },
            NDJSON: {
                "schema": {"type": "string"},
                "example": '{"user_id":"u1","item_id":"i7","type":"like"}\n{"user_id":"u1","item_id":"i8"}\n',
            },
        },
    }
}


@router.post(
    "/events",
    status_code=202,
    summary="Send interactions",
    response_model=BatchAnswer,
    responses=documented(
        MalformedBody,
        BodyTimeout,
        BodyTooLarge,
        BatchTooLarge,
        InvalidRequest,
        UnsupportedMedia,
        Unauthorized,
        BacklogFull,
        Overloaded,
        StateUnavailable,
    ),
    openapi_extra=_BODY,
)
async def post_events(request: Request) -> Response:
    """Accept interactions. Each event is checked by itself: good ones are kept, the others listed in `rejected`.

    The answer comes after the accepted events are in the state store. Sending a batch again is harmless.
    """
    # Taken before the body is read: a deletion that comes between wins.
    received_ms = now_ms()
    parts = parts_of(request)
    limits = parts.settings.limits
    raw = await read_batch(request, limits.batch_events, "events")
    batch = parse_events(raw, received_ms, limits.context_bytes)
    outcomes = await parts.store.events.accept(batch.events, received_ms) if batch.events else []
    _count(parts.metrics, outcomes, len(batch.rejected))
    return Json(_answer(batch, outcomes), 202)


def _answer(batch: Batch, outcomes: Sequence[Accepted]) -> BatchAnswer:
    rejected = list(batch.rejected)
    for index, outcome in zip(batch.positions, outcomes, strict=True):
        if outcome == "backlog_full":
            rejected.append(reject(index, _backlog_full()))
        elif outcome == "deleted":
            rejected.append(reject(index, UserDeleted("the user was deleted after this event was received")))
    rejected.sort(key=lambda rejection: rejection.index)
    answer = BatchAnswer(outcomes.count("accepted"), outcomes.count("duplicate"), rejected)
    if answer.accepted + answer.duplicates == 0:
        raise _nothing_acceptable(answer, retry="backlog_full" in outcomes)
    return answer


def _nothing_acceptable(answer: BatchAnswer, *, retry: bool) -> TastestreamError:
    if retry:
        error: TastestreamError = _backlog_full()
    else:
        first: Rejection = answer.rejected[0]
        error = InvalidRequest(f"nothing was acceptable; event {first.index}: {first.detail}", field=first.field)
    error.members = {"accepted": 0, "duplicates": 0, "rejected": answer.rejected}
    return error


def _backlog_full() -> BacklogFull:
    detail = "too many events of the user wait to be folded; send them again later"
    return BacklogFull(detail, retry_after_s=_RETRY_AFTER_S)


def _count(metrics: Metrics, outcomes: Sequence[Accepted], rejected: int) -> None:
    for outcome in set(outcomes):
        metrics.events.labels(outcome).inc(outcomes.count(outcome))
    if rejected:
        metrics.events.labels("rejected").inc(rejected)
