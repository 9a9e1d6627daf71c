"""What the store did with events, in the words of the wire."""

from collections.abc import Collection, Sequence
from typing import Literal

from service.errors import BacklogFull, Overloaded, TastestreamError, UserDeleted
from service.events.batch import Batch
from service.events.schemas import Note, Result
from service.http.batches import Rejection, reject
from service.parts import Parts
from service.recommend.receipts import read
from service.state.records import Accepted, Event

RETRY_AFTER_S = 5.0
_TAKEN: frozenset[Accepted] = frozenset({"accepted", "duplicate"})
_KEPT: dict[Accepted, Literal["accepted", "duplicate"]] = {"accepted": "accepted", "duplicate": "duplicate"}


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


def results(
    batch: Batch, outcomes: Sequence[Accepted], rejected: Sequence[Rejection], unknown: Collection[str]
) -> list[Result]:
    """The fate of every event of `batch`; `rejected` were not taken, `unknown` items are not in the catalogue."""
    codes = {rejection.index: rejection.code for rejection in rejected}
    ids = {position: event.event_id for position, event in zip(batch.positions, batch.events, strict=True)}
    fates = dict(zip(batch.positions, outcomes, strict=True))
    pairs = zip(batch.positions, batch.events, strict=True)
    notes: dict[int, Note] = {position: "unknown_item" for position, event in pairs if event.item_id in unknown}
    return [
        Result(index, ids.get(index), "rejected", codes[index])
        if index in codes
        else Result(index, ids[index], _KEPT[fates[index]], note=notes.get(index))
        for index in sorted(codes.keys() | fates.keys())
    ]


async def accept(batch: Batch, received_ms: int, parts: Parts) -> list[Accepted]:
    """Have the store accept the events of the batch; see `Events.accept`."""
    exposures = parts.signals.exposures({event.type for event in batch.events})
    return await parts.store.events.accept(batch.events, received_ms, exposures)


def count(batch: Batch, outcomes: Sequence[Accepted], parts: Parts) -> None:
    """Count what became of a batch: outcomes, unknown types and items, and what recommendations led to."""
    metrics, signals = parts.metrics, parts.signals
    for outcome in set(outcomes):
        metrics.events.labels(outcome).inc(outcomes.count(outcome))
    if batch.rejected:
        metrics.events.labels("rejected").inc(len(batch.rejected))
    if not batch.events:
        return
    parts.unknown_items.see(batch.events, outcomes)
    led = [place for place, event in enumerate(batch.events) if event.recommendation_id is not None]
    if led:
        _count_led([(batch.events[place], outcomes[place]) for place in led], parts)
    kinds = {event.type for event in batch.events}
    if not all(map(signals.knows, kinds)):
        unknown = {kind for kind in kinds if not signals.knows(kind)}
        pairs = zip(batch.events, outcomes, strict=True)
        metrics.unknown_types.inc(sum(outcome == "accepted" and event.type in unknown for event, outcome in pairs))


def _count_led(led: Sequence[tuple[Event, Accepted]], parts: Parts) -> None:
    model = parts.ranker.id if parts.ranker else None
    for event, outcome in led:
        if outcome == "accepted":
            signal = parts.signals(event.type, event.value)
            parts.metrics.outcomes.labels(*read(event.recommendation_id or "", model), signal).inc()
