"""The state store: what a tenant has in Redis, with one attribute per concept."""

import asyncio
from collections.abc import Callable, Sequence

from service.names import DEFAULT_TENANT
from service.settings import Settings
from service.state.cooccurrence import CooccurrenceCounts
from service.state.database import Database
from service.state.dead_letters import DeadLetters
from service.state.deleted_items import DeletedItems
from service.state.early import Early
from service.state.embeddings import Embeddings
from service.state.erasure import Erasure
from service.state.event_log import EventLog
from service.state.events import Events
from service.state.items import Items
from service.state.keys import Keys
from service.state.kinds import DESCRIBE, EMBED, ENCODE, FETCH, SUMMARIZE, Derived, derived_by, lua_table
from service.state.locks import Locks
from service.state.mirrors import Mirrors
from service.state.new_items import NewItems
from service.state.pages import Pages
from service.state.queues import Derivations, EmbeddingQueue, PictureQueue, Summaries
from service.state.reads import Wave
from service.state.rebuild import Rebuilds
from service.state.records import Waiting
from service.state.rotation import RotationLog
from service.state.scores import Scores
from service.state.shown_log import ShownLog
from service.state.users import Users


class Store:
    """What one tenant has in Redis. It connects on first use, for one event loop.

    Every part raises StateUnavailable when Redis fails.

    Args:
        now_ms: replaces Redis's clock in tests.
        derived: the results that are derived from items; by default those of the settings.
        tenant: whose store it is.
        database: that of another tenant's store; by default, a new one.

    Attributes:
        encodings: None if the settings name no picture encoder.
        embedding_queue: None if they name no embedder.
        retries: the budget of retries of calls to Redis.

    Raises:
        NotReady: `redis_url` is not set.
    """

    def __init__(
        self,
        settings: Settings,
        now_ms: Callable[[], int] | None = None,
        derived: Sequence[Derived] | None = None,
        *,
        tenant: str = DEFAULT_TENANT,
        database: Database | None = None,
    ) -> None:
        derived = derived_by(settings) if derived is None else derived
        self.database = database or Database(settings, lua_table(derived), now_ms)
        state, scripts = settings.state, self.database.scripts
        self.tenant = tenant
        self._settings, self._derived = settings, derived
        self._scripts, self._keys = scripts, (keys := Keys(state.buckets, tenant))
        self.servers, self.memory = self.database.servers, self.database.memory
        self.append_only, self.retries = self.database.append_only, self.database.retries
        self.events = Events(self.database.event_writes, keys, self.memory)
        self.log = EventLog(scripts, keys, state.event_log_retention_s)
        self.summaries = Summaries(scripts, keys, state)
        self.derivations = {
            kind.name: Derivations(scripts, keys, kind, state.summary_chars) for kind in derived if kind != EMBED
        }
        self.descriptions = self.derivations[DESCRIBE.name]
        self.encodings = self.derivations.get(ENCODE.name)
        self.embedding_queue = EmbeddingQueue(scripts, keys) if EMBED in derived else None
        self.embeddings = Embeddings(scripts, keys)
        self.mirrors = Mirrors(scripts, keys)
        self.dead_letters = DeadLetters(scripts, keys, (SUMMARIZE, FETCH, *derived))
        self.rebuilds = Rebuilds(scripts, keys, state.max_pending)
        early = Early(scripts, keys, state)
        self.new_items = NewItems(scripts, keys)
        self.items = Items(scripts, keys, early, self.new_items)
        self.pictures = PictureQueue(scripts, keys, FETCH)
        self.cooccurrence = CooccurrenceCounts(scripts, keys, state, early)
        self.shown_log = ShownLog(scripts, keys, state)
        self.users = Users(scripts, keys, self.log, self.shown_log, self.cooccurrence)
        self.deleted_items = DeletedItems(scripts, keys, self.items.known)
        self.locks = Locks(scripts, keys)
        self.erasure = Erasure(scripts, keys)
        self.rotation = RotationLog(scripts, keys, settings.recommend)
        self.pages = Pages(scripts, keys, settings.recommend)
        self.scores = Scores(scripts, keys, state.score_cache_items)

    def of(self, tenant: str) -> "Store":
        """The store of a tenant in the same database."""
        if tenant == self.tenant:
            return self
        return Store(self._settings, derived=self._derived, tenant=tenant, database=self.database)

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
        """Close the connections, for all tenants."""
        await self.database.close()
