"""Random load and random faults, both drawn from one seed."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.faults.client import Client, numbered
from tests.faults.harness import Fleet
from tests.faults.processes import ServiceProcess
from tests.faults.redis_proxy import Cut
from tests.faults.summarizer import Mood

LANES = 12
ABANDONED, DELETED = 0.04, 0.015
"""Shares of requests that are sent once whatever comes of them, and of those before which a user is deleted."""
MOODS = {
    Mood.good: 80,
    Mood.slow: 6,
    Mood.failing: 4,
    Mood.empty: 4,
    Mood.disconnecting: 4,
    Mood.endless: 1,
    Mood.streaming: 1,
}
LEASED = ("claim", "commit", "extend", "give_back", "dead_letter")
CUT = ("accept", *(f"summarize {name}" for name in LEASED), "delete", "read")


@dataclass
class Load:
    """Sends the events of `users` in bursts of their own order, several users in one batch.

    Each lane has users of its own and waits for each answer, so that a user's order is defined.
    """

    client: Client
    users: Sequence[str]
    events: int
    seed: str

    async def run(self) -> None:
        async with asyncio.TaskGroup() as lanes:
            for lane in range(LANES):
                lanes.create_task(self._lane(self.users[lane::LANES], random.Random(f"{self.seed} lane {lane}")))

    async def _lane(self, users: Sequence[str], chance: random.Random) -> None:
        left = {user: numbered(user, range(self.events)) for user in users}
        while left:
            chosen = chance.sample(sorted(left), min(len(left), chance.choice((1, 1, 2, 4, 8))))
            batch: list[str] = []
            for user in chosen:
                count = chance.randint(1, 4)
                batch += left[user][:count]
                left[user] = left[user][count:]
            if chance.random() < DELETED:
                await self.client.delete(chosen[0])
            if chance.random() < ABANDONED:
                await self.client.send_once(batch)
            else:
                await self.client.send(batch)
            left = {user: ids for user, ids in left.items() if ids}
            await asyncio.sleep(chance.uniform(0, 0.25))


@dataclass
class Chaos:
    """Kills, pauses and troubles what it can reach; several hands at the same time, each with its own kind of fault."""

    fleet: Fleet
    poisoned: frozenset[str]
    seed: str
    done: list[str] = field(default_factory=list)

    async def run(self, load: Coroutine[Any, Any, None]) -> None:
        """Until `load` has ended, and then until what is down or paused is back."""
        self._moods = random.Random(f"{self.seed} moods")
        self.fleet.summarizer.mood = self._mood
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as hands:
            loading = hands.create_task(load)
            loading.add_done_callback(lambda _: stop.set())
            hands.create_task(self._hand("gateways", self._gateway, 1.0, stop))
            hands.create_task(self._hand("workers", self._worker, 1.0, stop))
            hands.create_task(self._hand("redis", self._redis, 2.0, stop))
            if self.fleet.worker_proxy is not None:
                hands.create_task(self._hand("connections", self._connection, 0.2, stop))

    async def _hand(
        self, name: str, strike: Callable[[random.Random], Awaitable[str]], pause_s: float, stop: asyncio.Event
    ) -> None:
        chance = random.Random(f"{self.seed} {name}")
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), chance.uniform(0, 2 * pause_s))
                return
            self.done.append(await strike(chance))

    async def _gateway(self, chance: random.Random) -> str:
        return await self._process(chance.choice(self.fleet.gateways), "gateway", chance, chance.uniform(0.2, 2.5))

    async def _worker(self, chance: random.Random) -> str:
        return await self._process(chance.choice(self.fleet.workers), "worker", chance, chance.uniform(0.2, 2.0))

    async def _process(self, process: ServiceProcess, name: str, chance: random.Random, pause_s: float) -> str:
        """Each fault ends with the process at work again: on a busy machine nothing would ever come up otherwise."""
        fault = chance.choice(("killed", "killed", "paused", "stopped"))
        if fault == "paused":
            process.pause()
            await asyncio.sleep(pause_s)
            process.resume()
            return f"{name} paused"
        if fault == "stopped" and process.running:
            await process.stop()
        process.kill()
        await asyncio.sleep(chance.uniform(0, 0.5))
        process.start()
        await process.ready()
        return f"{name} {fault}"

    async def _redis(self, chance: random.Random) -> str:
        redis, node = self.fleet.redis, chance.randrange(6)
        if chance.random() < 0.5:
            redis.pause(node)
            await asyncio.sleep(chance.uniform(0.1, 1.5))
            redis.resume()
            return "redis paused"
        redis.kill(node)
        await asyncio.sleep(chance.uniform(0, 0.5))
        await asyncio.to_thread(redis.start)
        return "redis killed"

    async def _connection(self, chance: random.Random) -> str:
        async def cut() -> None:
            raise Cut

        proxy = chance.choice((self.fleet.gateway_proxy, self.fleet.worker_proxy))
        assert proxy is not None
        script, side = chance.choice(CUT), "after" if chance.random() < 0.5 else "before"
        proxy.disarm()
        proxy.strike(script, "before" if side == "before" else "after", cut)
        return "connection cut"

    def _mood(self, words: list[str]) -> Mood:
        if any(word.partition("-")[0] in self.poisoned for word in words):
            return Mood.empty
        return self._moods.choices(list(MOODS), list(MOODS.values()))[0]
