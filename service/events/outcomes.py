"""What the store did with events, in the words of the wire."""

from collections.abc import Sequence

from model_store.signals import Signals
from service.errors import BacklogFull, Overloaded, TastestreamError, UserDeleted
from service.events.batch import Batch
from service.events.schemas import Result
from service.http.batches import Rejection, reject
from service.metrics import Metrics
from service.parts import Parts
from service.state.records import Accepted

RETRY_AFTER_S = 5.0
_TAKEN: frozenset[Accepted] = frozenset({"accepted", "duplicate"})


def refusal(outcome: Accepted) -> TastestreamError | None:
    """Why the store did not take an event; None when it has it. One with `retry_after_s` may be sent again."""
    if outcome == "backlog_full":
        detail = "too many events of the user wait to be folded; send them again later"
        return BacklogFull(detail, retry_after_s=RETRY_AFTER_S)
    if outcome == "overloaded":
        return Overloaded("too many events wait to be folded; send them again later", retry_after_s=RETRY_AFTER_S)
    if outcome == "deleted":
        return UserDeleted("the user was deleted after this event was received")
    return None


def rejections(batch: Batch, outcomes: Sequence[Accepted]) -> list[Rejection]:
    """What was not taken of `batch`, in the order of the places."""
    if _TAKEN.issuperset(outcomes):
        return batch.rejected
    refused = [
        reject(position, error)
        for position, outcome in zip(batch.positions, outcomes, strict=True)
        if (error := refusal(outcome)) is not None
    ]
    return sorted([*batch.rejected, *refused], key=lambda rejection: rejection.index)


def results(batch: Batch, outcomes: Sequence[Accepted], rejected: Sequence[Rejection]) -> list[Result]:
    """The fate of every event of `batch`; `rejected` are those that were not taken."""
    codes = {rejection.index: rejection.code for rejection in rejected}
    ids = {position: event.event_id for position, event in zip(batch.positions, batch.events, strict=True)}
    fates = dict(zip(batch.positions, outcomes, strict=True))
    return [
        Result(index, ids.get(index), "rejected", codes[index])
        if index in codes
        else Result(index, ids[index], "duplicate" if fates[index] == "duplicate" else "accepted")
        for index in sorted(codes.keys() | fates.keys())
    ]


async def accept(batch: Batch, received_ms: int, parts: Parts) -> list[Accepted]:
    """Have the store accept the events of the batch; see `Events.accept`."""
    exposures = parts.signals.exposures(event.type for event in batch.events)
    return await parts.store.events.accept(batch.events, received_ms, exposures)


def count(metrics: Metrics, batch: Batch, outcomes: Sequence[Accepted], signals: Signals) -> None:
    """Count what became of a batch, once for each outcome, and the accepted events whose type is not known."""
    for outcome in set(outcomes):
        metrics.events.labels(outcome).inc(outcomes.count(outcome))
    if batch.rejected:
        metrics.events.labels("rejected").inc(len(batch.rejected))
    unknown = {kind for kind in {event.type for event in batch.events} if not signals.knows(kind)}
    if unknown:
        pairs = zip(batch.events, outcomes, strict=True)
        metrics.unknown_types.inc(sum(outcome == "accepted" and event.type in unknown for event, outcome in pairs))
