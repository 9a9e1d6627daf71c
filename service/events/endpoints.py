"""`POST /events`."""

from collections.abc import Sequence
from dataclasses import fields

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
)
from service.events.batch import Batch, parse_events
from service.events.forms import read_values
from service.events.openapi import REQUEST
from service.events.outcomes import count, refusal, rejections, results
from service.events.schemas import EventsAnswer, ResultsAnswer, StreamAnswer
from service.events.stream import accept_stream
from service.http.problems import documented
from service.http.routes import PlainRoute
from service.http.times import now_ms
from service.http.wire import NDJSON_NAMES, Json, content_kind
from service.parts import parts_of
from service.state.records import Accepted

router = APIRouter(tags=["events"], route_class=PlainRoute)

_FOR_NOW: tuple[Accepted, ...] = ("overloaded", "backlog_full")
_SWITCH = {"true": True, "1": True, "false": False, "0": False}


@router.post(
    "/events",
    status_code=202,
    summary="Send interactions",
    response_model=EventsAnswer | StreamAnswer | ResultsAnswer,
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
    openapi_extra=REQUEST,
)
async def post_events(request: Request) -> Response:
    """Accept interactions. Each event is checked by itself: good ones are kept, the others listed in `rejected`.

    The answer comes after the accepted events are in the state store. Sending events again is harmless.

    A stream of lines may be of any length and is accepted as it arrives. When it must stop in the middle (`429`,
    `503`, `408`), the error says what was `accepted` until then, and `resume_at`, the line to go on from. Lines are
    counted from 0, blank ones not at all. `rejected` lists the first ones, `rejected_total` counts all.
    """
    # Taken before the body is read: a deletion that comes between wins.
    received_ms = now_ms()
    parts = parts_of(request)
    kind = content_kind(request)
    with_results = _wants_results(request)
    if kind in NDJSON_NAMES:
        if with_results:
            raise InvalidRequest("results: not for a stream of lines; send a JSON array", field="results")
        return Json(await accept_stream(request, parts), 202)
    limits = parts.settings.limits
    batch = parse_events(await read_values(request, kind, limits.batch_events), received_ms, limits.context_bytes)
    outcomes = await parts.store.events.accept(batch.events, received_ms) if batch.events else []
    count(parts.metrics, outcomes, len(batch.rejected))
    return Json(_answer(batch, outcomes, with_results=with_results), 202)


def _wants_results(request: Request) -> bool:
    if not request.scope["query_string"]:
        return False
    try:
        return _SWITCH[request.query_params.get("results", "false")]
    except KeyError:
        raise InvalidRequest("results: must be true or false", field="results") from None


def _answer(batch: Batch, outcomes: Sequence[Accepted], *, with_results: bool) -> EventsAnswer:
    rejected = rejections(batch, outcomes)
    counts = (outcomes.count("accepted"), outcomes.count("duplicate"), rejected)
    answer = ResultsAnswer(*counts, results(batch, outcomes, rejected)) if with_results else EventsAnswer(*counts)
    if rejected and answer.accepted + answer.duplicates == 0:
        raise _nothing_acceptable(answer, outcomes)
    return answer


def _nothing_acceptable(answer: EventsAnswer, outcomes: Sequence[Accepted]) -> TastestreamError:
    first = answer.rejected[0]
    error = next((refusal(outcome) for outcome in _FOR_NOW if outcome in outcomes), None)
    error = error or InvalidRequest(f"nothing was acceptable; event {first.index}: {first.detail}", field=first.field)
    error.members = {field.name: getattr(answer, field.name) for field in fields(answer)}
    return error
