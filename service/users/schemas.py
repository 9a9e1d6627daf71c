"""Users on the wire."""

from dataclasses import dataclass

from service.http.times import format_time
from service.state.records import UserState


@dataclass(frozen=True, slots=True)
class SummaryOut:
    """The preference summary, written by the model version `model`.

    `version` is the number of folds, `events` the number of events folded by all of them.
    """

    text: str
    version: int
    updated_at: str
    model: str
    events: int


@dataclass(frozen=True, slots=True)
class VersionOut:
    """One version of the summary, and the ids of the events folded by it, in folding order."""

    version: int
    updated_at: str
    model: str
    event_ids: list[str]


@dataclass(frozen=True, slots=True)
class RecentOut:
    """One of the last interactions."""

    item_id: str
    type: str
    timestamp: str
    value: float | None


@dataclass(frozen=True, slots=True)
class UserOut:
    """What is stored of a user.

    `recents` are oldest first, `history` holds the summary's last versions, newest first. `pending_events` are accepted
    and not yet folded into the summary.
    """

    user_id: str
    summary: SummaryOut | None
    recents: list[RecentOut]
    pending_events: int
    history: list[VersionOut]


def user_out(state: UserState) -> UserOut:
    one = state.summary
    summary = SummaryOut(one.text, one.version, format_time(one.updated_at_ms), one.model, one.events) if one else None
    recents = [RecentOut(it.item_id, it.type, format_time(it.timestamp_ms), it.value) for it in state.recents]
    history = [
        VersionOut(version.version, format_time(version.updated_at_ms), version.model, list(version.event_ids))
        for version in (one.history if one else ())
    ]
    return UserOut(state.user_id, summary, recents, state.pending, history)
