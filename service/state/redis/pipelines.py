"""One round trip of many commands: to one Redis, or to each node of a cluster that has their keys.

Broken calls are retried, after asking a cluster again which node has which slot. Every script but `claim`
gives the same result when it is run twice, and a claim whose answer was lost is claimed again when its lease runs
out.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import MovedError, RedisClusterException, RedisError, ResponseError
from redis.exceptions import TimeoutError as Unanswered

from service.settings import StateSettings
from service.state.redis.client import Argument, Client, patience_s
from service.state.redis.durability import Durability

PAUSES_S = (0.02, 0.1)
"""The longest waits before the second and the third try."""


@dataclass(frozen=True, slots=True)
class Command:
    """The words of a command, and the key that says which node it is for."""

    key: str
    words: Sequence[Argument]


class Pipelines(Protocol):
    """Commands with the same hash tag run in their order."""

    def server(self, key: str) -> str:
        """Which server has the slot of `key`, as far as is known; "" for the only one."""
        ...

    async def run(self, commands: Sequence[Command], durability: Durability | None) -> list[Any]:
        """Run `commands`; a result each, which may be an exception.

        Raises:
            RedisError, RedisClusterException, OSError: Redis did not answer, or what was written is in
                fewer places than `durability` asks for; some commands may have been carried out.
        """
        ...


def pipelines(client: Client, settings: StateSettings) -> Pipelines:
    return OfCluster(client, settings) if isinstance(client, RedisCluster) else OfOne(client, settings)


class OfOne:
    """One Redis. Its client waits for a free connection and tries again; all tries end within the patience."""

    def __init__(self, client: Redis, settings: StateSettings) -> None:
        self._client = client
        self._patience_s = patience_s(settings)

    def server(self, key: str) -> str:
        return ""

    async def run(self, commands: Sequence[Command], durability: Durability | None) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command.words)
        if durability is not None:
            pipeline.execute_command(*durability.wait)
        async with asyncio.timeout(self._patience_s):
            answers = list(await pipeline.execute(raise_on_error=False))
        if any(isinstance(answer, ResponseError) and "READONLY" in str(answer) for answer in answers):
            # The master became a replica, and its name may lead to another server by now.
            await self._client.connection_pool.disconnect(inuse_connections=False)
        return answers if durability is None else durability.confirmed(answers)


class OfCluster:
    """The nodes of a cluster, side by side; all tries together end within the patience of the settings.

    The client follows no redirection: a command that went its own way would overtake others of its user, leave
    the WAIT that follows, and meet half of a slot that is moving. Until such a slot has arrived, its commands fail.
    """

    def __init__(self, client: RedisCluster, settings: StateSettings) -> None:
        self._client = client
        self._patience_s = patience_s(settings)
        self._free = asyncio.Semaphore(settings.redis_connections)
        self._suspect: str | None = None

    def server(self, key: str) -> str:
        nodes = self._client.nodes_manager.slots_cache.get(self._client.keyslot(key))
        return nodes[0].name if nodes else ""

    async def run(self, commands: Sequence[Command], durability: Durability | None) -> list[Any]:
        deadline = asyncio.get_running_loop().time() + self._patience_s
        results: list[Any] = [None] * len(commands)
        left: Sequence[int] = range(len(commands))
        async with self._connection(deadline):
            for pause_s in (*PAUSES_S, None):
                async with asyncio.timeout_at(deadline):
                    await self._learn()
                places = self._by_node(commands, left)
                answers = await asyncio.gather(
                    *(
                        self._ask(node, [commands[place] for place in found], durability, deadline)
                        for node, found in places.items()
                    )
                )
                for found, answer in zip(places.values(), answers, strict=True):
                    for place, result in zip(found, answer, strict=True):
                        results[place] = result
                left = [place for place in left if isinstance(results[place], Disconnected | MovedError)]
                if not left or pause_s is None:
                    break
                async with asyncio.timeout_at(deadline):
                    await asyncio.sleep(random.uniform(0, pause_s))
        return results

    @asynccontextmanager
    async def _connection(self, deadline: float) -> AsyncIterator[None]:
        """The right to one connection of each node; the client would refuse a call when it has none left."""
        async with asyncio.timeout_at(deadline):
            await self._free.acquire()
        try:
            yield
        finally:
            self._free.release()

    async def _learn(self) -> None:
        """Ask who has which slot: at first, and after a node was not what it was taken for."""
        await self._client.initialize()
        suspect, self._suspect = self._suspect, None
        if suspect is not None:
            try:
                await self._client.nodes_manager.initialize(last_failed_node_name=suspect)
            except BaseException:
                self._suspect = suspect
                raise

    def _by_node(self, commands: Sequence[Command], places: Sequence[int]) -> dict[ClusterNode, list[int]]:
        """Which of the commands at `places` are for which node."""
        nodes: dict[ClusterNode, list[int]] = {}
        for place in places:
            node = self._client.nodes_manager.get_node_from_slot(self._client.keyslot(commands[place].key))
            nodes.setdefault(node, []).append(place)
        return nodes

    async def _ask(
        self, node: ClusterNode, commands: Sequence[Command], durability: Durability | None, deadline: float
    ) -> list[Any]:
        """A result for each of the `commands`, or what became of the connection."""
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
