"""Waiting until replicas and disks have what was written (WAIT, WAITAOF), see docs/state.md.

Redis counts what one connection has written, so the wait goes behind the writes on the same connection.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.exceptions import AskError, MovedError, RedisError, ResponseError

from service.settings import StateSettings
from service.state.connection import Argument, Client


class NotDurable(RedisError):
    """Written, but not in as many places as was asked for."""


@dataclass(frozen=True, slots=True)
class Durability:
    """`wait` is the command behind every batch of writes, `least` what it must at least answer."""

    wait: tuple[Argument, ...]
    least: tuple[int, ...]

    @classmethod
    def of(cls, settings: StateSettings) -> "Durability | None":
        """What the settings ask for; None when an answer of Redis is enough."""
        wait_ms, replicas = round(settings.wait_s * 1000), settings.wait_replicas
        if settings.wait_aof:
            return cls(("WAITAOF", 1, replicas, wait_ms), (1, replicas))
        return cls(("WAIT", replicas, wait_ms), (replicas,)) if replicas else None

    async def run(self, client: Client, commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
        """Run the script calls `commands` and wait; a result each, which may be an exception.

        Raises:
            NotDurable: the wait ended with too few.
        """
        if isinstance(client, RedisCluster):
            return await self._run_clustered(client, commands)
        pipeline = client.pipeline(transaction=False)
        for command in (*commands, self.wait):
            pipeline.execute_command(*command)
        *results, reached = await pipeline.execute(raise_on_error=False)
        self._check(results, [reached])
        return results

    async def _run_clustered(self, client: RedisCluster, commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
        await client.initialize()
        pipeline = client.pipeline()
        nodes: dict[str, ClusterNode] = {}
        for command in commands:
            node = client.get_node_from_key(str(command[3]))
            if node is None:
                raise NotDurable(f"no node has the slot of {command[3]!r}")
            nodes[node.name] = node
            pipeline.execute_command(*command, target_nodes=node)
        for node in nodes.values():
            pipeline.execute_command(*self.wait, target_nodes=node)
        # Redirected commands would go over other connections than the wait.
        results = await pipeline.execute(raise_on_error=False, allow_redirections=False)
        answers, reached = results[: len(commands)], results[len(commands) :]
        if any(isinstance(answer, MovedError | AskError) for answer in answers):
            await client.aclose()
        self._check(answers, reached)
        return answers

    def _check(self, answers: Sequence[Any], reached: Sequence[Any]) -> None:
        for one in reached:
            if isinstance(one, ResponseError):
                raise one
            found = one if isinstance(one, list) else [one]
            if not all(isinstance(count, int) and count >= need for count, need in zip(found, self.least, strict=True)):
                raise NotDurable(f"{self.wait[0]!s} reached {one} instead of {list(self.least)}")
