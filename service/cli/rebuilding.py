"""Makes users due again: the workers then fold their logged events from the beginning."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from model_store.progress import Report
from service.cli.terminal import raise_if_interrupted
from service.state.event_log import FIRST
from service.state.rebuild import Outcome, Rebuilt
from service.state.store import Store

MAX_USERS, MAX_ENTRIES = 20, 500
"""The bounds of one step."""
POLL_S = 0.2


@dataclass(slots=True)
class Progress:
    """What was done so far, and the current bucket."""

    users: Counter[Outcome] = field(default_factory=Counter)
    events: int = 0
    dead_letters: int = 0
    bucket: int = 0
    current: int = 0
    """Users left out, because the version that is to write wrote their summary."""

    def add(self, result: Rebuilt) -> None:
        self.users[result.outcome] += 1
        self.events += result.events
        self.dead_letters += result.dead_letters


@dataclass(slots=True)
class Rebuild:
    """Rebuilds bucket by bucket, and pauses while too many events are pending or Redis is nearly full.

    Args:
        only: the users to rebuild; None for all in the log.
        written_by: leave out users whose summary this model version wrote; None for all.
        max_pending: pause while more events than this are pending.
    """

    store: Store
    only: Collection[str] | None
    partial: bool
    max_pending: int
    report: Report
    written_by: str | None = None
    progress: Progress = field(default_factory=Progress)

    async def run(self, start: int = 0) -> None:
        """Rebuild, starting with the bucket `start`."""
        log = self.store.log
        chosen = log.buckets if self.only is None else sorted({log.bucket(user) for user in self.only})
        buckets = [bucket for bucket in chosen if bucket >= start]
        for index, bucket in enumerate(buckets):
            self.progress.bucket = bucket
            await self._bucket(bucket, index, len(buckets))
        self._show(1.0)

    async def _bucket(self, bucket: int, index: int, buckets: int) -> None:
        entries: dict[str, list[str]] = defaultdict(list)
        last = await self._read(bucket, FIRST, entries)
        todo = list(entries)
        if self.only is not None:
            todo += [user for user in self.only if self.store.log.bucket(user) == bucket and user not in entries]
        todo = await self._outdated(todo)
        total = len(todo)
        while todo:
            await self._wait_for_room((index + 1 - len(todo) / total) / buckets)
            last = await self._read(bucket, last, entries)
            taken = list(_step(todo, entries))
            results = await self.store.rebuilds.rebuild(
                {user: entries.get(user, []) for user in taken}, last, partial=self.partial
            )
            later = [user for user, one in zip(taken, results, strict=True) if one.outcome in ("behind", "busy")]
            todo = [*later, *todo[len(taken) :]]
            for result in results:
                if result.outcome not in ("behind", "busy"):
                    self.progress.add(result)
            self._show((index + 1 - len(todo) / total) / buckets)
            if len(later) == len(taken):
                await asyncio.sleep(POLL_S)

    async def _outdated(self, users: list[str]) -> list[str]:
        """Those whose summary another version wrote, or nobody."""
        if self.written_by is None:
            return users
        kept: list[str] = []
        for start in range(0, len(users), MAX_USERS):
            wave = self.store.wave()
            states = [wave.add(self.store.users.reading(user)) for user in users[start : start + MAX_USERS]]
            await wave.send()
            summaries = ((state.value().user_id, state.value().summary) for state in states)
            kept += [user for user, one in summaries if one is None or one.model != self.written_by]
        self.progress.current += len(users) - len(kept)
        return kept

    async def _read(self, bucket: int, after: str, entries: dict[str, list[str]]) -> str:
        """Add the bucket's log entries to those of their users, and return the id of the last one."""
        async for one in self.store.log.read(bucket, after):
            after = one.id
            if self.only is None or one.event.user_id in self.only:
                entries[one.event.user_id].append(one.id)
        return after

    async def _wait_for_room(self, done: float) -> None:
        while why := await self._full():
            self._show(done, f", paused: {why}")
            await asyncio.sleep(POLL_S)

    async def _full(self) -> str:
        """Why to pause; empty if there is no reason."""
        if (backlog := await self.store.users.backlog()) > self.max_pending:
            return f"the workers have {backlog:,} events to fold (are they running?)"
        return "Redis is short of memory" if await self.store.memory.short() else ""

    def _show(self, done: float, more: str = "") -> None:
        raise_if_interrupted()
        self.report("rebuilding", done, f"{self.progress.users['rebuilt']:,} users{more}")


def _step(users: Sequence[str], entries: dict[str, list[str]]) -> Iterator[str]:
    """The first of `users`: at least one, and no more than one step may rebuild."""
    taken = 0
    for user in users[:MAX_USERS]:
        taken += len(entries.get(user, ()))
        yield user
        if taken >= MAX_ENTRIES:
            return
