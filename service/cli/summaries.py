"""`tastestream rebuild-summaries`: have the workers fold the logged events of all users, or of some, anew."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from model_store.errors import UserError
from model_store.progress import Report, stages
from service.cli.reach import reached_store
from service.cli.terminal import confirm, heed_interrupt, say
from service.settings import Settings
from service.state.event_log import FIRST
from service.state.rebuild import Outcome, Rebuilt
from service.state.store import Store

USERS_AT_ONCE, ENTRIES_AT_ONCE = 20, 500
LOOK_S = 0.2
_SKIPPED: dict[Outcome, str] = {
    "incomplete": "whose first events have left the log (--partial folds those that are left)",
    "too_many": "with more events than may wait (--partial folds the newest)",
    "nothing": "without anything to fold",
}


@dataclass(slots=True)
class Progress:
    """What was done so far; `bucket` is the one at work."""

    users: Counter[Outcome] = field(default_factory=Counter)
    events: int = 0
    letters: int = 0
    bucket: int = 0

    def add(self, result: Rebuilt) -> None:
        self.users[result.outcome] += 1
        self.events += result.events
        self.letters += result.letters


class Rebuild:
    """Makes users due bucket by bucket, and waits while too much waits to be folded or Redis is nearly full.

    Args:
        only: these users; None for all that the log knows.
        waiting: events that may wait to be folded while more are added.
    """

    def __init__(
        self, store: Store, only: Collection[str] | None, *, partial: bool, waiting: int, report: Report
    ) -> None:
        self._store = store
        self._only = only
        self._partial = partial
        self._waiting = waiting
        self._report = report
        self.progress = Progress()

    async def run(self, start: int = 0) -> None:
        """Rebuild from the bucket `start` on."""
        log = self._store.log
        chosen = log.buckets if self._only is None else sorted({log.bucket(user) for user in self._only})
        buckets = [bucket for bucket in chosen if bucket >= start]
        for place, bucket in enumerate(buckets):
            self.progress.bucket = bucket
            await self._bucket(bucket, place, len(buckets))
        self._tell(1.0)

    async def _bucket(self, bucket: int, place: int, buckets: int) -> None:
        index = _Index(self._store, bucket, self._only)
        await index.read_on()
        todo = list(index.entries)
        if self._only is not None:
            todo += [u for u in self._only if self._store.log.bucket(u) == bucket and u not in index.entries]
        total = len(todo)
        while todo:
            await self._room((place + 1 - len(todo) / total) / buckets)
            await index.read_on()
            taken = list(_portion(todo, index.entries))
            entries = {user: index.entries.get(user, []) for user in taken}
            results = await self._store.rebuilds.rebuild(entries, index.last, partial=self._partial)
            later = [user for user, one in zip(taken, results, strict=True) if one.outcome in ("behind", "busy")]
            todo = [*later, *todo[len(taken) :]]
            for result in results:
                if result.outcome not in ("behind", "busy"):
                    self.progress.add(result)
            self._tell((place + 1 - len(todo) / total) / buckets)
            if len(later) == len(taken):
                await asyncio.sleep(LOOK_S)

    async def _room(self, done: float) -> None:
        while why := await self._full():
            self._tell(done, f", waiting: {why}")
            await asyncio.sleep(LOOK_S)

    async def _full(self) -> str:
        """Why no more may wait now; "" when more may."""
        if (backlog := await self._store.users.backlog()) > self._waiting:
            return f"the workers have {backlog:,} events to fold (are they running?)"
        return "Redis is short of memory" if await self._store.memory.short() else ""

    def _tell(self, done: float, more: str = "") -> None:
        heed_interrupt()
        self._report("rebuilding", done, f"{self.progress.users['rebuilt']:,} users{more}")


class _Index:
    """Where the users' entries are in one bucket's log."""

    def __init__(self, store: Store, bucket: int, only: Collection[str] | None) -> None:
        self._store = store
        self._bucket = bucket
        self._only = only
        self.entries: dict[str, list[str]] = defaultdict(list)
        self.last = FIRST

    async def read_on(self) -> None:
        async for one in self._store.log.read(self._bucket, self.last):
            self.last = one.id
            if self._only is None or one.event.user_id in self._only:
                self.entries[one.event.user_id].append(one.id)


def _portion(users: Sequence[str], entries: dict[str, list[str]]) -> Iterator[str]:
    """The first of `users`: few, with few entries together, but at least one."""
    taken = 0
    for user in users[:USERS_AT_ONCE]:
        taken += len(entries.get(user, ()))
        yield user
        if taken >= ENTRIES_AT_ONCE:
            return


async def rebuild_command(
    settings: Settings, users: Sequence[str], *, partial: bool, waiting: int, start: int, yes: bool
) -> None:
    """Rebuild and say what was done, also when it was interrupted.

    Raises:
        UserError: no log is kept.
    """
    if not settings.state.log_events:
        raise UserError("there is no event log to rebuild from: TASTESTREAM_STATE__LOG_EVENTS is 0")
    only = dict.fromkeys(users) if users else None
    # Half of what makes the gateways refuse events.
    bound = min(waiting, settings.state.max_backlog // 2)
    async with reached_store(settings) as store:
        logged = await store.log.count()
        whose = "all users in the log" if only is None else f"{len(only):,} users"
        confirm(f"Fold the events of {whose} anew? The log holds {logged:,} events; each costs the model's time.", yes)
        with stages() as report:
            rebuild = Rebuild(store, only.keys() if only else None, partial=partial, waiting=bound, report=report)
            try:
                await rebuild.run(start)
            except asyncio.CancelledError:
                say(f"interrupted; go on with --from-bucket {rebuild.progress.bucket}, the same users may come again")
                _conclude(rebuild.progress)
                raise
        _conclude(rebuild.progress)
        say(f"the workers have {await store.users.backlog():,} events to fold")


def _conclude(progress: Progress) -> None:
    letters = f", {progress.letters:,} dead letters among them" if progress.letters else ""
    say(f"{progress.users['rebuilt']:,} users with {progress.events:,} events are folded anew{letters}")
    for outcome, why in _SKIPPED.items():
        if count := progress.users[outcome]:
            say(f"skipped: {count:,} users {why}")
