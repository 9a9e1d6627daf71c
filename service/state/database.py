"""The Redis, or the Redis Cluster, of all tenants."""

from collections.abc import Callable

from service.errors import NotReady
from service.settings import Settings
from service.state.events import EventWrites
from service.state.redis.append_only import AppendOnlyFiles
from service.state.redis.client import call_timeout_s, connect
from service.state.redis.memory import MemoryReserve
from service.state.redis.retries import budget
from service.state.redis.scripts import Scripts
from service.state.redis.servers import Servers


class Database:
    """What the stores of all tenants share: the connections and everything that is about the servers.

    Args:
        derived: the derived results as the scripts' constant, see `kinds.lua_table`.
        now_ms: replaces Redis's clock in tests.

    Attributes:
        retries: the budget of retries of calls to Redis.

    Raises:
        NotReady: `redis_url` is not set.
    """

    def __init__(self, settings: Settings, derived: str, now_ms: Callable[[], int] | None = None) -> None:
        if settings.redis_url is None:
            raise NotReady("no Redis: set TASTESTREAM_REDIS_URL")
        state = settings.state
        self.retries = budget(state)
        self._client = connect(settings.redis_url, state, self.retries)
        self.scripts = Scripts(self._client, state, self.retries, now_ms, derived)
        self.servers = Servers(self._client)
        self.memory = MemoryReserve(self.servers, state.memory_reserve)
        self.append_only = AppendOnlyFiles(self._client)
        self.event_writes = EventWrites(self.scripts, call_timeout_s(state))

    async def close(self) -> None:
        await self.memory.close()
        await self._client.aclose()
