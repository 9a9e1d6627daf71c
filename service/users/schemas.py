"""Users on the wire."""

from dataclasses import dataclass

from service.http.times import format_time
from service.state.records import Event, Summary, UserState, Version


@dataclass(frozen=True, slots=True)
class SummaryOut:
    """The preference summary. `version` counts the folds, `events` what was folded by all of them together.

    `model` is the model version that wrote it.
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
    """`recents` oldest first; `pending_events` are accepted and not yet folded into the summary.

    `history` holds the summary's last versions, newest first.
    """

    user_id: str
    summary: SummaryOut | None
    recents: list[RecentOut]
    pending_events: int
    history: list[VersionOut]


def user_out(state: UserState) -> UserOut:
    summary = _summary_out(state.summary) if state.summary else None
    recents = [_recent_out(event) for event in state.recents]
    history = [_version_out(version) for version in state.summary.history] if state.summary else []
    return UserOut(state.user_id, summary, recents, state.pending, history)


def _summary_out(summary: Summary) -> SummaryOut:
    updated_at = format_time(summary.updated_at_ms)
    return SummaryOut(summary.text, summary.version, updated_at, summary.model, summary.events)


def _version_out(version: Version) -> VersionOut:
    return VersionOut(version.version, format_time(version.updated_at_ms), version.model, list(version.event_ids))


def _recent_out(event: Event) -> RecentOut:
    return RecentOut(event.item_id, event.type, format_time(event.timestamp_ms), event.value)
