"""`POST /events`."""

import time
from collections.abc import Sequence

from fastapi import APIRouter, Request, Response
from starlette.types import Scope

from service.errors import BacklogFull, BatchTooLarge, InvalidRequest
from service.events.batch import Batch, parse_batch
from service.events.forms import read_values
from service.events.ingest import EventIngest
from service.events.openapi import REQUEST, TAKEN
from service.events.outcomes import RETRY_AFTER_S, nothing_acceptable, refusal, rejections, results
from service.events.schemas import EventsAnswer, ResultsAnswer, StreamAnswer
from service.events.stream import accept_stream
from service.http.headers import Preferences, preferences
from service.http.media import NDJSON_NAMES, content_kind
from service.http.objectives import judge
from service.http.problems import BODY_ERRORS, COMMON_ERRORS, documented
from service.http.routes import PlainRoute
from service.http.tenants import PerTenant
from service.http.times import now_ms
from service.http.wire import Json
from service.settings.limits import LimitSettings
from service.state.records import Accepted

_RETRYABLE: tuple[Accepted, ...] = ("overloaded", "backlog_full")
_SWITCH = {"true": True, "1": True, "false": False, "0": False}


def events_router(ingests: PerTenant[EventIngest], limits: LimitSettings) -> APIRouter:
    """The route that accepts events."""
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
        """Accept interactions. Each event is checked on its own: valid ones are stored, others listed in `rejected`.

        The answer is sent after the accepted events are in the state store. It is safe to send a request again:
        known events are counted in `duplicates`. The last 1,024 events of each user are known for at least a day
        (`state.dedupe_ids`, `state.dedupe_ttl_s`); older ones are `accepted` again.

        A stream of lines may be of any length and is accepted as it arrives. If it has to stop in the middle (`429`,
        `503`, `408`), the error has the number `accepted` until then, and in `resume_at` the line to continue from.
        Lines are numbered from 0, not counting blank ones. `rejected` lists the first rejections, `rejected_total`
        counts all.

        An answer with `Retry-After` has `retryable` rejections, such as `backlog_full`: send those events again later,
        or all of them. With `Prefer: handling=strict` the answer is a `429` instead, and a stream stops at the first
        such event. With `Prefer: return=minimal`, and for CloudEvents in binary mode, the answer is an empty `204` if
        nothing was rejected.
        """
        # Taken before the body is read: an event that is still arriving during a deletion is refused.
        received_ms, arrived_s = now_ms(), time.perf_counter()
        ingest = ingests.of(request.scope)
        kind = content_kind(request)
        wishes = preferences(request)
        with_results = _wants_results(request)
        if kind in NDJSON_NAMES:
            if with_results:
                raise InvalidRequest("results: not for a stream of lines; send a JSON array", field="results")
            streamed = await accept_stream(request, ingest, limits, strict=wishes.strict)
            return _respond(request.scope, streamed, wishes, minimal=wishes.minimal is True)
        body = await read_values(request, kind, limits)
        batch = await parse_batch(body.values, received_ms)
        outcomes = await ingest.accept(batch, received_ms, arrived_s)
        answer = EventsAnswer(outcomes.count("accepted"), outcomes.count("duplicate"), rejections(batch, outcomes))
        if with_results:
            answer = _with_results(answer, batch, outcomes, await ingest.unknown(batch))
        _require_some(answer, outcomes, strict=wishes.strict)
        minimal = body.binary if wishes.minimal is None else wishes.minimal
        return _respond(request.scope, answer, wishes, minimal=minimal and not with_results)

    return router


def _wants_results(request: Request) -> bool:
    if not request.scope["query_string"]:
        return False
    try:
        return _SWITCH[request.query_params.get("results", "false")]
    except KeyError:
        raise InvalidRequest("results: must be true or false", field="results") from None


def _respond(scope: Scope, answer: EventsAnswer, wishes: Preferences, *, minimal: bool) -> Response:
    """The answer; if `minimal`, an empty one where nothing was rejected.

    `Retry-After` says that some events may be accepted later, so that a sink need not read the body.
    """
    if minimal and not answer.rejected:
        return Response(status_code=204, headers=wishes.applied(minimal=True))
    headers = wishes.applied(minimal=False)
    if answer.retryable_total if isinstance(answer, StreamAnswer) else _retryable(answer):
        judge(scope, "refused")
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
    """Raises TastestreamError if nothing was accepted; or, if `strict`, if some events must be sent again."""
    if answer.rejected and (answer.accepted + answer.duplicates == 0 or (strict and _retryable(answer))):
        error = next((refusal(outcome) for outcome in _RETRYABLE if outcome in outcomes), None)
        raise nothing_acceptable(answer, "event", error)
