"""One round trip of many commands: to one Redis, or to each node of a cluster that has their keys.

Commands with the same hash tag run in their order. Each has a result, which may be an exception. `run` itself raises
RedisError, RedisClusterException or OSError if Redis did not answer, or if what was written is in fewer places than
`durability` requires; some commands may have run then.

Calls on broken connections are retried within a budget, on a cluster after reading the slot table again. Every script
except `claim` gives the same result when it runs twice. A claim whose answer was lost is claimed again when its lease
ends.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import MovedError, RedisClusterException, RedisError, ResponseError
from redis.exceptions import TimeoutError as Unanswered

from model_store.engine.retry_budget import RetryBudget
from service.settings.state import StateSettings
from service.state.redis.client import Argument, call_timeout_s
from service.state.redis.durability import Durability

MAX_PAUSES_S = (0.02, 0.1)
"""Before the second and the third try."""


@dataclass(frozen=True, slots=True)
class Command:
    """The words of a command, and the key that decides which node it goes to."""

    key: str
    words: Sequence[Argument]


class OfOne:
    """One Redis. Its client waits for a free connection and retries, all within the call's timeout."""

    def __init__(self, client: Redis, settings: StateSettings) -> None:
        self._client = client
        self._timeout_s = call_timeout_s(settings)

    async def run(self, commands: Sequence[Command], durability: Durability | None) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command.words)
        if durability is not None:
            pipeline.execute_command(*durability.wait)
        async with asyncio.timeout(self._timeout_s):
            answers = list(await pipeline.execute(raise_on_error=False))
        if any(isinstance(answer, ResponseError) and "READONLY" in str(answer) for answer in answers):
            # The master became a replica. Its name may now resolve to another server.
            await self._client.connection_pool.disconnect(inuse_connections=False)
        return answers if durability is None else durability.confirmed(answers)


class OfCluster:
    """The nodes of a cluster, in parallel; all tries end within the call's timeout.

    The client follows no redirection: a redirected command would overtake others of its user, be missed by the WAIT
    that follows, and find only half of a slot that is moving. The commands of such a slot fail until it has moved.
    """

    def __init__(self, client: RedisCluster, settings: StateSettings, retries: RetryBudget) -> None:
        self._client = client
        self._retries = retries
        self._timeout_s = call_timeout_s(settings)
        self._free = asyncio.Semaphore(settings.redis_connections)
        self._suspect: str | None = None

    async def run(self, commands: Sequence[Command], durability: Durability | None) -> list[Any]:
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        results: list[Any] = [None] * len(commands)
        left: Sequence[int] = range(len(commands))
        self._retries.called()
        async with self._connection(deadline):
            for max_pause_s in (*MAX_PAUSES_S, None):
                async with asyncio.timeout_at(deadline):
                    await self._update_slots()
                nodes = self._by_node(commands, left)
                answers = await asyncio.gather(
                    *(
                        self._send(node, [commands[at] for at in positions], durability, deadline)
                        for node, positions in nodes.items()
                    )
                )
                for positions, answer in zip(nodes.values(), answers, strict=True):
                    for at, result in zip(positions, answer, strict=True):
                        results[at] = result
                left = [at for at in left if isinstance(results[at], Disconnected | MovedError)]
                if not left or max_pause_s is None or not self._retries.take():
                    break
                async with asyncio.timeout_at(deadline):
                    await asyncio.sleep(random.uniform(0, max_pause_s))
        return results

    @asynccontextmanager
    async def _connection(self, deadline: float) -> AsyncIterator[None]:
        """Wait for the right to use one connection of each node; the client raises when it has no connection left."""
        async with asyncio.timeout_at(deadline):
            await self._free.acquire()
        try:
            yield
        finally:
            self._free.release()

    async def _update_slots(self) -> None:
        """Read the slot table on first use, and again after a node failed or no longer had a slot."""
        await self._client.initialize()
        suspect, self._suspect = self._suspect, None
        if suspect is not None:
            try:
                await self._client.nodes_manager.initialize(last_failed_node_name=suspect)
            except BaseException:
                self._suspect = suspect
                raise

    def _by_node(self, commands: Sequence[Command], positions: Sequence[int]) -> dict[ClusterNode, list[int]]:
        """The `positions` in `commands`, grouped by node."""
        nodes: dict[ClusterNode, list[int]] = {}
        for at in positions:
            node = self._client.nodes_manager.get_node_from_slot(self._client.keyslot(commands[at].key))
            nodes.setdefault(node, []).append(at)
        return nodes

    async def _send(
        self, node: ClusterNode, commands: Sequence[Command], durability: Durability | None, deadline: float
    ) -> list[Any]:
        """A result for each of the `commands`; the connection's error for all of them if it failed."""
        pipeline = self._client.pipeline()
        for command in commands:
            pipeline.execute_command(*command.words, target_nodes=node)
        if durability is not None:
            pipeline.execute_command(*durability.wait, target_nodes=node)
        try:
            async with asyncio.timeout_at(deadline):
                answers = list(await pipeline.execute(raise_on_error=False, allow_redirections=False))
            if any(isinstance(answer, Disconnected | Unanswered | MovedError) for answer in answers):
                self._suspect = node.name
            return answers if durability is None else durability.confirmed(answers)
        except (RedisError, RedisClusterException, OSError) as error:
            if isinstance(error, Disconnected | Unanswered | OSError):
                self._suspect = node.name
            return [error] * len(commands)
