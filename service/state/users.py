"""Reading and deleting users (invariants I5, I6)."""

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from service.errors import StateUnavailable
from service.logs import get_logger
from service.state import encoding, votes
from service.state.cooccurrence import CooccurrenceCounts
from service.state.event_log import EventLog
from service.state.keys import Keys
from service.state.reads import Read, alone
from service.state.records import UserState
from service.state.redis.scripts import Call, Scripts

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Erased:
    """What there was of a user before it was erased: pending and logged events and dead letters are counted."""

    anything: bool
    summary: bool = False
    pending: int = 0
    dead_letters: int = 0
    logged: int = 0


class Users:
    def __init__(self, scripts: Scripts, keys: Keys, log: EventLog, cooccurrence: CooccurrenceCounts) -> None:
        self._scripts = scripts
        self._keys = keys
        self._log = log
        self._cooccurrence = cooccurrence

    async def read(self, user_id: str) -> UserState:
        """The user at one instant; an empty state for a user nobody has seen."""
        return await alone(self._scripts, self.reading(user_id))

    def reading(self, user_id: str) -> Read[UserState]:
        """`read`, as part of a wave."""
        keys = self._keys.user(user_id)
        call = Call("read", (keys.summary, keys.pending, keys.recents, keys.seen), (self._scripts.now(),))
        return Read((call,), partial(_state, user_id))

    async def delete(self, user_id: str) -> bool:
        """Delete everything of the user, as `erase` does; False if there was nothing."""
        return (await self.erase(user_id)).anything

    async def erase(self, user_id: str) -> Erased:
        """Delete everything of the user, including dead letters, and return what there was.

        A write that was in flight is refused afterwards: an event by the time it was received, a
        commit by its fencing token, scores by the time the user was read. Returns only when an event
        received after this call counts as received after the deletion, on hosts whose clocks differ by at
        most `clock_skew_s`.
        """
        keys = self._keys.user(user_id)
        names = (
            *(keys.tombstone, keys.due, keys.dead, keys.backlog, keys.log, keys.pending, keys.dead_letters),
            *(keys.summary, keys.recents, keys.seen, keys.lease, keys.dedupe, keys.scores),
        )
        given = self._scripts.now()
        now_ms = given or time.time_ns() // 1_000_000
        call = Call("delete", names, (now_ms, user_id, given))
        (answer,) = await self._scripts.run([call], durable=True)
        existed, till_ms, last, letters, pending, summary, recents, seen = answer
        logged = await self._log.forget(user_id, last.decode()) if last else 0
        await self._withdraw(user_id, summary, recents, seen)
        if not given:
            await self._wait_past(till_ms)
        return Erased(bool(existed) or logged > 0, bool(summary), pending, letters, logged)

    async def seen(self, user_id: str) -> list[str]:
        """Items that have left the user's recents, oldest first."""
        (items,) = await self._scripts.send([("LRANGE", self._keys.user(user_id).seen, 0, -1)])
        return [item.decode() for item in items]

    async def backlog(self) -> int:
        """Pending events of all users."""
        return sum(
            int(count or 0) for count in await self._scripts.send([("GET", b.backlog) for b in self._keys.users])
        )

    async def _withdraw(self, user_id: str, summary: bytes, recents: list[bytes], seen: list[bytes]) -> None:
        """Take back what the user was counted for, as far as its own lists still name it."""
        folded = encoding.summary(summary)
        if folded is None or not folded.votes:
            return
        known = [event.item_id for event in encoding.recents_events(user_id, recents)]
        try:
            await self._cooccurrence.withdraw(votes.named(folded.votes, [*known, *(item.decode() for item in seen)]))
        except StateUnavailable as error:
            log.warning("counts_not_withdrawn", error=error.detail)

    async def _wait_past(self, till_ms: int) -> None:
        left_ms = till_ms + self._scripts.skew_ms - time.time_ns() // 1_000_000
        await asyncio.sleep(max(0, left_ms + 1) / 1000)


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
