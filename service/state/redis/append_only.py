"""Rewrites the append-only files, so that they no longer contain deleted data."""

import asyncio
from collections.abc import Mapping
from typing import Any

from redis.asyncio import RedisCluster
from redis.exceptions import ResponseError

from service.errors import StateUnavailable
from service.state.redis.client import Client
from service.state.redis.scripts import unavailable

POLL_S = 0.1


class AppendOnlyFiles:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def rewrite(self, within_s: float) -> tuple[int, int]:
        """Have every server rewrite its append-only file from its current data, and wait until all have done so.

        Includes the replicas of a cluster, but not those of a single Redis: they are not known here.

        Returns:
            How many servers rewrote their file, and how many have none.

        Raises:
            StateUnavailable: a server refused or failed, or did not finish within `within_s` seconds.
        """
        try:
            async with asyncio.timeout(within_s):
                with unavailable():
                    done = await asyncio.gather(*(self._rewrite(node) for node in await self._nodes()))
        except TimeoutError as error:
            raise StateUnavailable(f"the append-only files were not rewritten within {within_s:g} s") from error
        return done.count(True), done.count(False)

    async def _nodes(self) -> list[dict[str, Any]]:
        """The arguments that select each server in a call of the client."""
        if not isinstance(self._client, RedisCluster):
            return [{}]
        await self._client.initialize()
        return [{"target_nodes": node} for node in self._client.get_nodes()]

    async def _rewrite(self, node: Mapping[str, Any]) -> bool:
        if not (await self._persistence(node))["aof_enabled"]:
            return False
        begun = False
        while not begun:
            # A rewrite that is already running began before the deletion.
            await self._idle(node)
            try:
                await self._client.bgrewriteaof(**node)
                begun = True
            except ResponseError as error:
                if "in progress" not in str(error):
                    raise
        await self._idle(node)
        status = (await self._persistence(node))["aof_last_bgrewrite_status"]
        if status != "ok":
            raise StateUnavailable(f"an append-only file could not be rewritten: {status}; see the server's log")
        return True

    async def _idle(self, node: Mapping[str, Any]) -> None:
        while True:
            found = await self._persistence(node)
            if not found["aof_rewrite_in_progress"] and not found["aof_rewrite_scheduled"]:
                return
            await asyncio.sleep(POLL_S)

    async def _persistence(self, node: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = await self._client.info("persistence", **node)
        # The cluster's client returns it by the node's name.
        return found if "aof_enabled" in found else next(iter(found.values()))
