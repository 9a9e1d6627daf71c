"""The state store: one Redis, or a Redis Cluster, with one attribute per concept."""

import asyncio
from collections.abc import Callable, Sequence

from service.errors import NotReady
from service.settings import Settings
from service.state.cooccurrence import CooccurrenceCounts
from service.state.dead_letters import DeadLetters
from service.state.deleted_items import DeletedItems
from service.state.early import Early
from service.state.event_log import EventLog
from service.state.events import Events
from service.state.items import Items
from service.state.keys import Keys
from service.state.kinds import DERIVED, DESCRIBE, FETCH, SUMMARIZE, Derived, lua_table
from service.state.locks import Locks
from service.state.new_items import NewItems
from service.state.queues import Derivations, PictureQueue, Summaries
from service.state.reads import Wave
from service.state.rebuild import Rebuilds
from service.state.records import Waiting
from service.state.redis.append_only import AppendOnlyFiles
from service.state.redis.client import call_timeout_s, connect
from service.state.redis.memory import MemoryReserve
from service.state.redis.retries import budget
from service.state.redis.scripts import Scripts
from service.state.redis.servers import Servers
from service.state.scores import Scores
from service.state.users import Users


class Store:
    """A store on `settings.redis_url` for one event loop. It connects on first use.

    Every part raises StateUnavailable when Redis fails.

    Args:
        now_ms: replaces Redis's clock in tests.
        derived: the results that are derived from items; tests may add some.

    Attributes:
        retries: the budget of retries of calls to Redis.

    Raises:
        NotReady: `redis_url` is not set.
    """

    def __init__(
        self, settings: Settings, now_ms: Callable[[], int] | None = None, derived: Sequence[Derived] = DERIVED
    ) -> None:
        if settings.redis_url is None:
            raise NotReady("no Redis: set TASTESTREAM_REDIS_URL")
        state = settings.state
        self.retries = budget(state)
        self._client = client = connect(settings.redis_url, state, self.retries)
        keys, scripts = Keys(state.buckets), Scripts(client, state, self.retries, now_ms, lua_table(derived))
        self._scripts, self._keys = scripts, keys
        self.servers = Servers(client)
        self.memory = MemoryReserve(self.servers, state.memory_reserve)
        self.events = Events(scripts, keys, self.memory, call_timeout_s(state))
        self.log = EventLog(scripts, keys, state.event_log_retention_s)
        self.summaries = Summaries(scripts, keys, state)
        self.derivations = {kind.name: Derivations(scripts, keys, kind, state.summary_chars) for kind in derived}
        self.descriptions = self.derivations[DESCRIBE.name]
        self.dead_letters = DeadLetters(scripts, keys, (SUMMARIZE, FETCH, *derived))
        self.rebuilds = Rebuilds(scripts, keys, state.max_pending)
        early = Early(scripts, keys, state)
        self.new_items = NewItems(scripts, keys)
        self.items = Items(scripts, keys, early, self.new_items)
        self.pictures = PictureQueue(scripts, keys, FETCH)
        self.cooccurrence = CooccurrenceCounts(scripts, keys, state, early)
        self.users = Users(scripts, keys, self.log, self.cooccurrence)
        self.deleted_items = DeletedItems(scripts, keys, self.items.known)
        self.locks = Locks(scripts, keys)
        self.append_only = AppendOnlyFiles(client)
        self.scores = Scores(scripts, keys, state.score_cache_items)

    def wave(self) -> Wave:
        """For reads of several parts in one round trip."""
        return Wave(self._scripts)

    async def ping(self) -> None:
        """Raises StateUnavailable if Redis does not answer."""
        await self._scripts.run([("EXISTS", self._keys.popular)])

    async def waiting(self) -> Waiting:
        """The sizes of the queues of all users and items."""
        (due, oldest_ms), pending, letters, pictures = await asyncio.gather(
            self.summaries.due(), self.users.backlog(), self.dead_letters.count(), self.pictures.count()
        )
        return Waiting(due, oldest_ms / 1000, pending, letters, pictures)

    async def close(self) -> None:
        await self.memory.close()
        await self._client.aclose()
