"""`POST /events`."""

from collections.abc import Sequence
from dataclasses import fields

from fastapi import APIRouter, Request, Response

from service.errors import BacklogFull, BatchTooLarge, InvalidRequest, TastestreamError
from service.events.batch import PARSED_AT_ONCE, Batch, parse_batch, parse_events
from service.events.forms import read_values
from service.events.ingest import EventIngest
from service.events.openapi import REQUEST, TAKEN
from service.events.outcomes import RETRY_AFTER_S, refusal, rejections, results
from service.events.schemas import EventsAnswer, ResultsAnswer, StreamAnswer
from service.events.stream import accept_stream
from service.http.headers import Preferences, preferences
from service.http.media import NDJSON_NAMES, content_kind
from service.http.problems import BODY_ERRORS, COMMON_ERRORS, documented
from service.http.routes import PlainRoute
from service.http.times import now_ms
from service.http.wire import Json
from service.settings import LimitSettings
from service.state.records import Accepted

_FOR_NOW: tuple[Accepted, ...] = ("overloaded", "backlog_full")
_SWITCH = {"true": True, "1": True, "false": False, "0": False}


def events_router(ingest: EventIngest, limits: LimitSettings) -> APIRouter:
    """The route that takes events."""
    router = APIRouter(tags=["events"], route_class=PlainRoute)

    @router.post(
        "/events",
        status_code=202,
        summary="Send interactions",
        response_model=EventsAnswer | StreamAnswer | ResultsAnswer,
        responses=TAKEN | documented(BatchTooLarge, BacklogFull, *BODY_ERRORS, *COMMON_ERRORS),
        openapi_extra=REQUEST,
    )
    async def post_events(request: Request) -> Response:
        """Accept interactions. Each event is checked by itself: good ones are kept, the others listed in `rejected`.

        The answer comes after the accepted events are in the state store. Sending a request again is harmless:
        what is known is counted in `duplicates`. Of each user the last 1,024 events are known for at least a day
        (`state.dedupe_ids`, `state.dedupe_ttl_s`); what is sent again from before is `accepted` again.

        A stream of lines may be of any length and is accepted as it arrives. When it must stop in the middle (`429`,
        `503`, `408`), the error says what was `accepted` until then, and `resume_at`, the line to go on from. Lines are
        counted from 0, blank ones not at all. `rejected` lists the first ones, `rejected_total` counts all.

        An answer with `Retry-After` has rejections that are `retryable`, such as `backlog_full`: send those again
        later, or everything. With `Prefer: handling=strict` it is a `429` instead, and a stream stops at the first of
        them. With `Prefer: return=minimal`, and for CloudEvents in binary mode, what was taken whole is answered with
        an empty `204`.
        """
        # Taken before the body is read: a deletion that comes between wins.
        received_ms = now_ms()
        kind = content_kind(request)
        wishes = preferences(request)
        with_results = _wants_results(request)
        if kind in NDJSON_NAMES:
            if with_results:
                raise InvalidRequest("results: not for a stream of lines; send a JSON array", field="results")
            streamed = await accept_stream(request, ingest, limits, strict=wishes.strict)
            return _respond(streamed, wishes, minimal=wishes.minimal is True)
        body = await read_values(request, kind, limits)
        if len(body.values) <= PARSED_AT_ONCE:
            batch = parse_events(body.values, received_ms)
        else:
            batch = await parse_batch(body.values, received_ms)
        outcomes = await ingest.accept(batch, received_ms)
        answer = EventsAnswer(outcomes.count("accepted"), outcomes.count("duplicate"), rejections(batch, outcomes))
        if with_results:
            answer = _with_results(answer, batch, outcomes, await ingest.unknown(batch))
        _require_some(answer, outcomes, strict=wishes.strict)
        minimal = body.binary if wishes.minimal is None else wishes.minimal
        return _respond(answer, wishes, minimal=minimal and not with_results)

    return router


def _wants_results(request: Request) -> bool:
    if not request.scope["query_string"]:
        return False
    try:
        return _SWITCH[request.query_params.get("results", "false")]
    except KeyError:
        raise InvalidRequest("results: must be true or false", field="results") from None


def _respond(answer: EventsAnswer, wishes: Preferences, *, minimal: bool) -> Response:
    """The answer, or, if `minimal`, none where there is nothing to say but that all was taken.

    That some may be taken later is said by `Retry-After`, so that a sink need not read the body for it.
    """
    if not minimal and not answer.rejected and not wishes.strict:
        return Json(answer, 202)
    minimal = minimal and not answer.rejected
    headers = wishes.applied(minimal=minimal)
    if minimal:
        return Response(status_code=204, headers=headers)
    retryable = answer.retryable_total if isinstance(answer, StreamAnswer) else _retryable(answer)
    if retryable:
        headers["retry-after"] = f"{RETRY_AFTER_S:.0f}"
    return Json(answer, 202, headers)


def _retryable(answer: EventsAnswer) -> int:
    return sum(rejection.retryable for rejection in answer.rejected)


def _with_results(
    answer: EventsAnswer, batch: Batch, outcomes: Sequence[Accepted], unknown: frozenset[str] | None
) -> ResultsAnswer:
    rows = results(batch, outcomes, answer.rejected, unknown or ())
    count_unknown = None if unknown is None else sum(row.note is not None for row in rows)
    return ResultsAnswer(answer.accepted, answer.duplicates, answer.rejected, rows, count_unknown)


def _require_some(answer: EventsAnswer, outcomes: Sequence[Accepted], *, strict: bool) -> None:
    """
    Raises:
        TastestreamError: nothing was taken; or, if `strict`, something must be sent again.
    """
    if answer.rejected and (answer.accepted + answer.duplicates == 0 or (strict and _retryable(answer))):
        raise _nothing_acceptable(answer, outcomes)


def _nothing_acceptable(answer: EventsAnswer, outcomes: Sequence[Accepted]) -> TastestreamError:
    first = answer.rejected[0]
    error = next((refusal(outcome) for outcome in _FOR_NOW if outcome in outcomes), None)
    error = error or InvalidRequest(f"nothing was acceptable; event {first.index}: {first.detail}", field=first.field)
    error.extensions = {field.name: getattr(answer, field.name) for field in fields(answer)}
    return error
