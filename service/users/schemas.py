"""Users on the wire."""

from dataclasses import dataclass

from service.http.times import format_time
from service.state.records import Event, Summary, UserState


@dataclass(frozen=True, slots=True)
class SummaryOut:
    """The preference summary; `version` counts the folds, `model` is the model version that wrote it."""

    text: str
    version: int
    updated_at: str
    model: str


@dataclass(frozen=True, slots=True)
class RecentOut:
    """One of the last interactions."""

    item_id: str
    type: str
    timestamp: str
    value: float | None


@dataclass(frozen=True, slots=True)
class UserOut:
    """`recents` oldest first; `pending_events` are accepted and not yet folded into the summary."""

    user_id: str
    summary: SummaryOut | None
    recents: list[RecentOut]
    pending_events: int


def user_out(state: UserState) -> UserOut:
    summary = _summary_out(state.summary) if state.summary else None
    return UserOut(state.user_id, summary, [_recent_out(event) for event in state.recents], state.pending)


def _summary_out(summary: Summary) -> SummaryOut:
    return SummaryOut(summary.text, summary.version, format_time(summary.updated_at_ms), summary.model)


def _recent_out(event: Event) -> RecentOut:
    return RecentOut(event.item_id, event.type, format_time(event.timestamp_ms), event.value)
