"""The store's contents as typed records, for the rest of the service."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple


class Event(NamedTuple):
    """One accepted interaction. Times in milliseconds since the Unix epoch.

    A tuple, because every request creates many.
    """

    event_id: str
    user_id: str
    item_id: str
    type: str
    timestamp_ms: int
    value: float | None = None
    recommendation_id: str | None = None
    context: Mapping[str, Any] | None = None
    refolded: bool = False
    """Already folded once, into a summary that has been discarded to be rebuilt."""
    by_arrival: bool = False
    """It came without id and time: its arrival decides whether it is a duplicate, see `service.state.ids`."""
    exposure: bool = False
    """The item was only shown to the user: the event is not among the recents or seen items, nor in a summary."""
    trace: str | None = None
    """The span that accepted it, see `service.tracing`."""


Accepted = Literal["accepted", "duplicate", "backlog_full", "deleted", "overloaded"]
"""What the accept script did with one event.

`deleted`: received before its user's deletion. `backlog_full`: too many events of the user are pending.
`overloaded`: too many events of all users are pending.
"""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a summary, and the events folded by it, in folding order."""

    version: int
    updated_at_ms: int
    model: str
    event_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """The current summary. `events` is the number folded by all versions, `event_ids` are those of this one.

    `earlier` holds some earlier versions, newest first.
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
    """All its events are pending again: it is still shown, and the next fold begins with an empty text."""
    votes: str = ""
    """The items that were counted for the user, see `service.state.votes`."""

    @property
    def history(self) -> tuple[Version, ...]:
        """This version and the earlier ones, newest first."""
        return (Version(self.version, self.updated_at_ms, self.model, self.event_ids), *self.earlier)


@dataclass(frozen=True, slots=True)
class UserState:
    """What a request needs to know about a user, read in one round trip.

    `recents` are the newest events by event time, folded or pending, oldest first, with item, type, time and value
    only. `seen` includes their items. `read_at_ms` is when they were read, by the store's clock.
    """

    user_id: str
    summary: Summary | None
    recents: tuple[Event, ...]
    pending: int
    seen: frozenset[str]
    read_at_ms: int = 0

    @property
    def known(self) -> bool:
        """Whether the user has events or a summary."""
        return self.summary is not None or bool(self.recents) or self.pending > 0


@dataclass(frozen=True, slots=True)
class Claim:
    """Work that is leased to one worker.

    Args:
        key: the id of the user or item.
        token: the fencing token.
        attempts: the number of failed attempts so far.
    """

    key: str
    token: int
    attempts: int


@dataclass(frozen=True, slots=True)
class SummaryClaim(Claim):
    """A user whose events are to be folded.

    `pending` holds the first pending events, in folding order; `accepted_ms` has for each the time of its acceptance by
    the store's clock, None if it was folded or dead-lettered before. `recents` are the user's at the time of the claim,
    without pending events.
    """

    summary: Summary | None
    pending: tuple[Event, ...]
    recents: tuple[Event, ...] = ()
    accepted_ms: tuple[int | None, ...] = ()

    @property
    def base(self) -> Summary | None:
        """The summary that the fold continues; None if it begins with an empty text."""
        return None if self.summary is None or self.summary.voided else self.summary

    @property
    def votes(self) -> str:
        """The items that were counted for the user, also while the summary is rebuilt."""
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
    """The URL of a picture that is still to be fetched."""
    summary: str = ""
    summary_model: str = ""
    described: bool = False
    encoded: tuple[str, ...] = ()
    """The picture encoders that made soft tokens of the stored picture, see `Manifest.encoder_id`."""


@dataclass(frozen=True, slots=True)
class ItemClaim(Claim):
    """An item from which a result is to be derived.

    If it is to be embedded, `embedded` are the indexes that have a vector of its current content, and `failed` those
    whose embedder has given up.
    """

    item: Item
    embedded: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PictureClaim(Claim):
    """An item whose picture is to be fetched from `url`."""

    url: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Work that failed on its last attempt. `kind` is one of `service.state.kinds`, `key` the user or item."""

    id: str
    kind: str
    key: str
    reason: str
    at_ms: int
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Waiting:
    """The sizes of the queues; `oldest_due_s` is for how long the user that has waited longest has been due."""

    due_users: int
    oldest_due_s: float
    pending_events: int
    dead_letters: int
    pending_pictures: int


@dataclass(frozen=True, slots=True)
class RedisState:
    """What Redis says about itself; of a cluster, its masters together.

    Args:
        memory_used, memory_max: bytes in all; 0 for no `maxmemory`.
        memory_share: of the fullest master, how much of its `maxmemory` it uses; 0 without one.
        aof_ok: every master keeps an append-only file, and its last write and rewrite succeeded.
        replicas: connected to the master that has the fewest.
        clock_skew_s: this process's clock minus Redis's, of the server for which the difference is largest.
    """

    memory_used: int
    memory_max: int
    memory_share: float
    aof_ok: bool
    replicas: int
    clock_skew_s: float
