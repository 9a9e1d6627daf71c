"""What the store holds, as the rest of the service sees it. No dict travels further than this."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

EventType = str


class Event(NamedTuple):
    """One accepted interaction. Times in milliseconds since the Unix epoch.

    A tuple, because many are made for every request.
    """

    event_id: str
    user_id: str
    item_id: str
    type: EventType
    timestamp_ms: int
    value: float | None = None
    recommendation_id: str | None = None
    context: Mapping[str, Any] | None = None
    refolded: bool = False
    """Folded once before, into a summary that was since thrown away to be rebuilt."""
    by_arrival: bool = False
    """It came with neither id nor time: when it arrived decides whether it was sent before, see `service.state.ids`."""
    exposure: bool = False
    """The item was only shown to the user: neither recent nor seen, and in no summary."""


Accepted = Literal["accepted", "duplicate", "backlog_full", "deleted", "overloaded"]
"""What the accept script did with one event.

`deleted`: received before its user's deletion. `backlog_full`: too many events of the user wait to be
folded; `overloaded`: too many of all users.
"""


@dataclass(frozen=True, slots=True)
class Version:
    """Where one version of a summary came from: the events folded by it, in folding order."""

    version: int
    updated_at_ms: int
    model: str
    event_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """The living text. `events` counts those folded by all its versions, `event_ids` are those of this one.

    `earlier` holds some versions before it, newest first.
    """

    text: str
    version: int
    updated_at_ms: int
    model: str
    prompt: str
    events: int = 0
    event_ids: tuple[str, ...] = ()
    earlier: tuple[Version, ...] = ()
    voided: bool = False
    """All its events are pending again: it is there for readers, and the next fold begins without it."""
    votes: str = ""
    """Which items were counted for the user, see `service.state.votes`."""

    @property
    def history(self) -> tuple[Version, ...]:
        """This version and those before it, newest first."""
        return (Version(self.version, self.updated_at_ms, self.model, self.event_ids), *self.earlier)


@dataclass(frozen=True, slots=True)
class UserState:
    """All that a request needs of a user, read in one round trip.

    `recents` are the newest events by event time, folded or pending, oldest first; of an event they keep
    item, type, time and value. `seen` also holds their items. `read_at_ms` is the time of the reading by the
    store's clock.
    """

    user_id: str
    summary: Summary | None
    recents: tuple[Event, ...]
    pending: int
    seen: frozenset[str]
    read_at_ms: int = 0

    @property
    def known(self) -> bool:
        """Whether there is anything of the user: events, or what was made of them."""
        return self.summary is not None or bool(self.recents) or self.pending > 0


@dataclass(frozen=True, slots=True)
class Claim:
    """Work that is leased to one worker.

    Args:
        key: the id of the user or item.
        token: the fencing token.
        attempts: how often it failed before.
    """

    key: str
    token: int
    attempts: int


@dataclass(frozen=True, slots=True)
class SummaryClaim(Claim):
    """A user whose events are to be folded.

    `pending` holds the first pending events, in folding order.
    `recents` are those of the user at the time of the claim, without the pending ones.
    """

    summary: Summary | None
    pending: tuple[Event, ...]
    recents: tuple[Event, ...] = ()

    @property
    def base(self) -> Summary | None:
        """The summary that the fold goes on from; None where it begins with an empty text."""
        return None if self.summary is None or self.summary.voided else self.summary

    @property
    def votes(self) -> str:
        """Which items were counted for the user, also when the summary is rebuilt."""
        return self.summary.votes if self.summary else ""


@dataclass(frozen=True, slots=True)
class Item:
    """One catalogue entry at one revision."""

    item_id: str
    title: str
    description: str = ""
    genres: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    attributes: Mapping[str, Any] | None = None
    revision: int = 0
    picture: str | None = None
    """Content hash of the stored picture."""
    picture_error: str | None = None
    picture_url: str | None = None
    """Where the picture that was given last is still to be fetched from."""
    summary: str = ""
    summary_model: str = ""
    described: bool = False


@dataclass(frozen=True, slots=True)
class ItemClaim(Claim):
    """An item from which something is to be derived."""

    item: Item


@dataclass(frozen=True, slots=True)
class PictureClaim(Claim):
    """An item whose picture is to be fetched from `url`."""

    url: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Work of a `kind` of `service.state.kinds` that was given up; `key` is the user or item."""

    id: str
    kind: str
    key: str
    reason: str
    at_ms: int
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits: due users, how long the first of them has been due, events not yet folded, dead letters kept, items
    whose pictures are not yet fetched."""

    due_users: int
    oldest_due_s: float
    pending_events: int
    dead_letters: int
    pending_pictures: int = 0
