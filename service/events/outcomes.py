"""What the store did with events, in the words of the wire."""

from collections.abc import Collection, Sequence
from typing import Literal

from service.errors import BacklogFull, Overloaded, TastestreamError, UserDeleted
from service.events.batch import Batch
from service.events.schemas import Note, Result
from service.http.batches import Rejection, reject
from service.state.records import Accepted

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
