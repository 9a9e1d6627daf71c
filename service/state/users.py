"""Reads and deletes users (invariants I5, I6)."""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Any

from service.errors import StateUnavailable
from service.logs import get_logger
from service.state import encoding, votes
from service.state.cooccurrence import CooccurrenceCounts
from service.state.event_log import EventLog
from service.state.keys import Keys
from service.state.kinds import SUMMARIZE
from service.state.reads import Read, alone
from service.state.records import UserState
from service.state.redis.scripts import Call, Scripts
from service.state.shown_log import ShownLog

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Deleted:
    """What was deleted of a user; pending and logged events and dead letters are counted."""

    summary: bool
    pending: int
    dead_letters: int
    logged: int


class Users:
    def __init__(
        self, scripts: Scripts, keys: Keys, log: EventLog, shown: ShownLog, cooccurrence: CooccurrenceCounts
    ) -> None:
        self._scripts = scripts
        self._keys = keys
        self._log = log
        self._shown = shown
        self._cooccurrence = cooccurrence

    async def read(self, user_id: str) -> UserState:
        """The user at one instant; an empty state for an unknown user."""
        return await alone(self._scripts, self.reading(user_id))

    def reading(self, user_id: str) -> Read[UserState]:
        """`read`, as part of a wave."""
        keys = self._keys.user(user_id)
        call = Call("read", (keys.summary, keys.pending, keys.recents, keys.seen), (self._scripts.now(),))
        return Read((call,), partial(_state, user_id))

    async def delete(self, user_id: str) -> Deleted | None:
        """Delete everything of the user, including dead letters; None if there was nothing.

        Writes in flight are refused afterwards: events by the time at which they were received, commits by their
        fencing token, scores by the time at which the user was read. Returns only when an event received after
        this call counts as received after the deletion, on hosts whose clocks differ by at most `clock_skew_s`.
        """
        keys, bucket = self._keys.user(user_id), self._keys.user_bucket(user_id)
        names = (
            *(keys.tombstone, bucket.due(SUMMARIZE.name), bucket.dead, bucket.backlog, bucket.log),
            *(keys.pending, keys.dead_letters, keys.summary, keys.recents, keys.seen, keys.lease),
            *(keys.dedupe, keys.scores, keys.pages, keys.rotation),
        )
        given = self._scripts.now()
        call = Call("delete", names, (self._scripts.host_now(), user_id, given))
        (answer,) = await self._scripts.run([call], durable=True)
        existed, till_ms, last, letters, pending, summary, recents, seen = answer
        logged = await self._log.forget(user_id, last.decode()) if last else 0
        shown = await self._shown.forget(user_id)
        await self._withdraw(user_id, summary, recents, seen)
        if not given:
            left_ms = till_ms + self._scripts.skew_ms - self._scripts.host_now()
            await asyncio.sleep(max(0, left_ms + 1) / 1000)
        return Deleted(bool(summary), pending, letters, logged) if existed or logged or shown else None

    async def seen(self, user_id: str) -> list[str]:
        """Items that have left the user's recents, oldest first."""
        (items,) = await self._scripts.run([("LRANGE", self._keys.user(user_id).seen, 0, -1)])
        return [item.decode() for item in items]

    async def backlog(self) -> int:
        """Pending events of all users."""
        counts = await self._scripts.run([("GET", bucket.backlog) for bucket in self._keys.users])
        return sum(int(count or 0) for count in counts)

    async def _withdraw(self, user_id: str, summary: bytes, recents: list[bytes], seen: list[bytes]) -> None:
        """Withdraw the user's counts of those items that its lists still name."""
        folded = encoding.summary(summary)
        if folded is None or not folded.votes:
            return
        known = [event.item_id for event in encoding.recents_events(user_id, recents)]
        try:
            await self._cooccurrence.withdraw(votes.named(folded.votes, [*known, *(item.decode() for item in seen)]))
        except StateUnavailable as error:
            log.warning("counts_not_withdrawn", error=error.detail)


def _state(user_id: str, results: list[Any]) -> UserState:
    ((summary, entries, pending, seen, now_ms),) = results
    recents = encoding.recents_events(user_id, entries)
    return UserState(
        user_id=user_id,
        summary=encoding.summary(summary),
        recents=recents,
        pending=pending,
        seen=frozenset(event.item_id for event in recents) | {item.decode() for item in seen},
        read_at_ms=now_ms,
    )
