"""The event log: the last accepted events, bounded by count and age, for export and rebuild.

The accept script writes one stream per bucket, in the order of acceptance.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from service.state import encoding
from service.state.keys import Keys
from service.state.records import Event
from service.state.redis.scripts import Call, Scripts

PAGE = 1000
FIRST = "0-0"
"""The id before all entries."""


@dataclass(frozen=True, slots=True)
class Logged:
    """An accepted event and its place in its bucket's log."""

    id: str
    event: Event


class EventLog:
    def __init__(self, scripts: Scripts, keys: Keys, event_log_retention_s: float) -> None:
        self._scripts = scripts
        self._keys = keys
        self._log_ms = round(event_log_retention_s * 1000)

    @property
    def buckets(self) -> range:
        """The numbers of the logs; each user's events are in one of them."""
        return range(len(self._keys.users))

    async def count(self) -> int:
        """The number of logged events."""
        return sum(await self._scripts.run([("XLEN", bucket.log) for bucket in self._keys.users]))

    def bucket(self, user_id: str) -> int:
        """The number of the log that has the user's events."""
        return self._keys.bucket(user_id)

    async def read(self, bucket: int, after: str = FIRST) -> AsyncIterator[Logged]:
        """The events of one bucket after the entry `after`, oldest first, including those logged while reading."""
        start = f"({after}"
        while True:
            call = Call("stream_page", (self._keys.users[bucket].log,), (start, "+", PAGE))
            (entries,) = await self._scripts.run([call])
            for stream_id, (_, user, _, entry) in entries:
                yield Logged(stream_id.decode(), encoding.pending_event(user.decode(), entry))
            if len(entries) < PAGE:
                return
            start = f"({entries[-1][0].decode()}"

    async def forget(self, user_id: str, last: str) -> int:
        """Remove the user's events up to the entry `last`; returns how many there were."""
        keys, start, removed = (self._keys.user_bucket(user_id).log,), "-", 0
        while start:
            call = Call("log_forget", keys, (user_id, start, last, PAGE))
            ((count, following),) = await self._scripts.run([call], durable=True)
            start, removed = following.decode(), removed + count
        return removed

    async def trim(self, *, short: bool = False) -> int:
        """Remove events older than the retention time, in whole nodes of a stream; returns how many were removed.

        If Redis is `short` of memory, the older half of the log is removed as well.
        """
        oldest = max(0, self._scripts.host_now() - self._log_ms)
        logs = [bucket.log for bucket in self._keys.users]
        removed = await self._scripts.run([("XTRIM", log, "MINID", "~", oldest) for log in logs])
        if short:
            lengths = await self._scripts.run([("XLEN", log) for log in logs])
            halves = zip(logs, lengths, strict=True)
            removed += await self._scripts.run([("XTRIM", log, "MAXLEN", length // 2) for log, length in halves])
        return sum(removed)
