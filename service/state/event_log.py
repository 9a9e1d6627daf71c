"""The event log: the last accepted events, bounded by count and age, for export and rebuild.

One stream a bucket, written by the accept script, in the order of acceptance.
"""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from service.state import encoding
from service.state.keys import Keys
from service.state.records import Event
from service.state.redis.scripts import Call, Scripts

PAGE = 1000
FIRST = "0-0"
"""Before all entries."""


@dataclass(frozen=True, slots=True)
class Logged:
    """An accepted event and its place in its bucket's log."""

    id: str
    accepted_at_ms: int
    event: Event


class EventLog:
    def __init__(self, scripts: Scripts, keys: Keys, event_log_retention_s: float) -> None:
        self._scripts = scripts
        self._keys = keys
        self._log_ms = round(event_log_retention_s * 1000)

    @property
    def buckets(self) -> range:
        """The numbers of the logs; all events of one user are in one of them."""
        return range(len(self._keys.users))

    async def count(self) -> int:
        """How many events are kept."""
        return sum(await self._scripts.send([("XLEN", bucket.log) for bucket in self._keys.users]))

    def bucket(self, user_id: str) -> int:
        """The number of the log with the user's events."""
        return self._keys.bucket(user_id)

    async def read(self, bucket: int, after: str = FIRST) -> AsyncIterator[Logged]:
        """The events of one bucket after the entry `after`, oldest first, including those logged while reading."""
        start = f"({after}"
        while True:
            call = Call("stream_page", (self._keys.users[bucket].log,), (start, "+", PAGE))
            (entries,) = await self._scripts.run([call])
            for stream_id, (_, user, _, entry) in entries:
                name = stream_id.decode()
                yield Logged(name, int(name.partition("-")[0]), encoding.pending_event(user.decode(), entry))
            if len(entries) < PAGE:
                return
            start = f"({entries[-1][0].decode()}"

    async def forget(self, user_id: str, last: str) -> int:
        """Remove the user's events up to the entry `last`; returns how many there were."""
        key = self._keys.user(user_id).log
        start, removed = "-", 0
        while start:
            ((count, following),) = await self._scripts.run(
                [Call("log_forget", (key,), (user_id, start, last, PAGE))], durable=True
            )
            start, removed = following.decode(), removed + count
        return removed

    async def trim(self, *, short: bool = False) -> int:
        """Remove what is older than the retention time, whole nodes of a stream at a time; returns how many events.

        `short` of memory, the log is the first to give some: the older half goes.
        """
        now_ms = self._scripts.now() or time.time_ns() // 1_000_000
        oldest = max(0, now_ms - self._log_ms)
        logs = [bucket.log for bucket in self._keys.users]
        removed = await self._scripts.send([("XTRIM", log, "MINID", "~", oldest) for log in logs])
        if short:
            lengths = await self._scripts.send([("XLEN", log) for log in logs])
            halves = zip(logs, lengths, strict=True)
            removed += await self._scripts.send([("XTRIM", log, "MAXLEN", length // 2) for log, length in halves])
        return sum(removed)
