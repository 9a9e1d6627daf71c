"""What the servers that take writes say about themselves (`INFO`, `TIME`)."""

import time
from collections.abc import Mapping
from typing import Any

from redis.asyncio import RedisCluster

from service.state.records import RedisState
from service.state.redis.client import Client
from service.state.redis.scripts import unavailable


class Servers:
    """One Redis, or the masters of a cluster."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def memory(self) -> list[tuple[int, int]]:
        """Used bytes and `maxmemory`, 0 for none, of each server.

        Raises:
            StateUnavailable: Redis did not answer.
        """
        return [(int(one["used_memory"]), int(one["maxmemory"])) for one in await self._info("memory")]

    async def state(self) -> RedisState:
        """What can be said of all servers together.

        Raises:
            StateUnavailable: Redis did not answer.
        """
        servers = await self._info()
        memory = [(int(one["used_memory"]), int(one["maxmemory"])) for one in servers]
        return RedisState(
            memory_used=sum(used for used, _ in memory),
            memory_max=sum(most for _, most in memory),
            memory_share=max(used / most if most else 0.0 for used, most in memory),
            aof_ok=all(_aof_ok(one) for one in servers),
            replicas=min(int(one["connected_slaves"]) for one in servers),
            clock_skew_s=await self._clock_skew_s(),
        )

    async def _info(self, *section: str) -> list[Mapping[str, Any]]:
        with unavailable():
            if not isinstance(self._client, RedisCluster):
                return [await self._client.info(*section)]
            found = await self._client.info(*section, target_nodes=RedisCluster.PRIMARIES)
        # The client answers for one server as it does for a single Redis.
        return [found] if "used_memory" in found else list(found.values())

    async def _clock_skew_s(self) -> float:
        """This process's clock minus a server's, of the one for which it is largest; right to half a round trip."""
        before = time.time()
        with unavailable():
            if isinstance(self._client, RedisCluster):
                found = await self._client.time(target_nodes=RedisCluster.PRIMARIES)
                clocks = list(found.values()) if isinstance(found, dict) else [found]
            else:
                clocks = [await self._client.time()]
        here = (before + time.time()) / 2
        return max((here - seconds - micros / 1e6 for seconds, micros in clocks), key=abs)


def _aof_ok(info: Mapping[str, Any]) -> bool:
    results = (info["aof_last_write_status"], info["aof_last_bgrewrite_status"])
    return bool(info["aof_enabled"]) and results == ("ok", "ok")
