"""Make users due again, so that the workers fold their logged events from the beginning."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from model_store.progress import Report
from service.cli.terminal import heed_interrupt
from service.state.event_log import FIRST
from service.state.rebuild import Outcome, Rebuilt
from service.state.store import Store

MAX_USERS, MAX_ENTRIES = 20, 500
"""How much one step rebuilds."""
POLL_S = 0.2


@dataclass(slots=True)
class Progress:
    """What was done so far, and the current bucket."""

    users: Counter[Outcome] = field(default_factory=Counter)
    events: int = 0
    dead_letters: int = 0
    bucket: int = 0

    def add(self, result: Rebuilt) -> None:
        self.users[result.outcome] += 1
        self.events += result.events
        self.dead_letters += result.dead_letters


class Rebuild:
    """Rebuilds bucket by bucket, and pauses while too many events are pending or Redis is nearly full.

    Args:
        only: the users to rebuild; None for all in the log.
        max_pending: pause while more events than this are pending.
    """

    def __init__(
        self, store: Store, only: Collection[str] | None, *, partial: bool, max_pending: int, report: Report
    ) -> None:
        self._store = store
        self._only = only
        self._partial = partial
        self._max_pending = max_pending
        self._report = report
        self.progress = Progress()

    async def run(self, start: int = 0) -> None:
        """Rebuild, starting with the bucket `start`."""
        log = self._store.log
        chosen = log.buckets if self._only is None else sorted({log.bucket(user) for user in self._only})
        buckets = [bucket for bucket in chosen if bucket >= start]
        for place, bucket in enumerate(buckets):
            self.progress.bucket = bucket
            await self._bucket(bucket, place, len(buckets))
        self._show(1.0)

    async def _bucket(self, bucket: int, place: int, buckets: int) -> None:
        index = _Index(self._store, bucket, self._only)
        await index.read_more()
        todo = list(index.entries)
        if self._only is not None:
            todo += [u for u in self._only if self._store.log.bucket(u) == bucket and u not in index.entries]
        total = len(todo)
        while todo:
            await self._wait_for_room((place + 1 - len(todo) / total) / buckets)
            await index.read_more()
            taken = list(_step(todo, index.entries))
            entries = {user: index.entries.get(user, []) for user in taken}
            results = await self._store.rebuilds.rebuild(entries, index.last, partial=self._partial)
            later = [user for user, one in zip(taken, results, strict=True) if one.outcome in ("behind", "busy")]
            todo = [*later, *todo[len(taken) :]]
            for result in results:
                if result.outcome not in ("behind", "busy"):
                    self.progress.add(result)
            self._show((place + 1 - len(todo) / total) / buckets)
            if len(later) == len(taken):
                await asyncio.sleep(POLL_S)

    async def _wait_for_room(self, done: float) -> None:
        while why := await self._full():
            self._show(done, f", paused: {why}")
            await asyncio.sleep(POLL_S)

    async def _full(self) -> str:
        """Why to pause; empty if there is no reason."""
        if (backlog := await self._store.users.backlog()) > self._max_pending:
            return f"the workers have {backlog:,} events to fold (are they running?)"
        return "Redis is short of memory" if await self._store.memory.short() else ""

    def _show(self, done: float, more: str = "") -> None:
        heed_interrupt()
        self._report("rebuilding", done, f"{self.progress.users['rebuilt']:,} users{more}")


class _Index:
    """The log entries of each user in one bucket."""

    def __init__(self, store: Store, bucket: int, only: Collection[str] | None) -> None:
        self._store = store
        self._bucket = bucket
        self._only = only
        self.entries: dict[str, list[str]] = defaultdict(list)
        self.last = FIRST

    async def read_more(self) -> None:
        async for one in self._store.log.read(self._bucket, self.last):
            self.last = one.id
            if self._only is None or one.event.user_id in self._only:
                self.entries[one.event.user_id].append(one.id)


def _step(users: Sequence[str], entries: dict[str, list[str]]) -> Iterator[str]:
    """The first of `users`: at least one, and no more than one step rebuilds."""
    taken = 0
    for user in users[:MAX_USERS]:
        taken += len(entries.get(user, ()))
        yield user
        if taken >= MAX_ENTRIES:
            return
