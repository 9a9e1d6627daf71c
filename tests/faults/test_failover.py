"""I1, I2 when a master is lost for good, with its disk: what was acknowledged is on its replica, which takes over.

Three masters with a replica each, and `state.wait_replicas` = 1. Nothing of the service is told or restarted.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.app import create_app
from service.settings import Settings
from service.settings.state import StateSettings
from tests.faults.client import body, numbered
from tests.faults.harness import Fleet, running_fleet, until
from tests.redis_servers import RedisCluster

EVENTS = 30
LOST, REPLICA = 1, 4
LAG = 4000
"""Bytes of the replication stream that the replica does not get."""


class ReplicatedCluster:
    """Three masters with a replica each; what is killed or paused stays so."""

    def __init__(self, cluster: RedisCluster) -> None:
        self.nodes = cluster
        self.url = cluster.url

    def kill(self, node: int = LOST) -> None:
        self.nodes.kill(node)

    def start(self) -> None:
        """Nothing comes back by itself."""

    def pause(self, node: int = LOST) -> None:
        os.kill(self.nodes.pid(node), signal.SIGSTOP)

    def resume(self) -> None:
        """Nothing goes on by itself."""

    def go_on(self, node: int) -> None:
        os.kill(self.nodes.pid(node), signal.SIGCONT)

    def cut_off(self) -> int:
        """Pause the replica and drop what is on its way to it; returns where the master's stream is."""
        self.pause(REPLICA)
        with self.nodes.admin(LOST) as master:
            master.execute_command("CLIENT", "KILL", "TYPE", "replica")
        return self.offset()

    def offset(self) -> int:
        with self.nodes.admin(LOST) as master:
            return int(master.info("replication")["master_repl_offset"])

    def close(self) -> None:
        self.nodes.close()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[ReplicatedCluster]:
    with RedisCluster(tmp_path / "cluster", replicas=True, node_timeout_ms=2000) as cluster:
        yield ReplicatedCluster(cluster)


@pytest.mark.parametrize("loss", ["killed", "paused"])
async def test_a_lost_master_takes_no_acknowledged_event_with_it(
    redis: ReplicatedCluster, tmp_path: Path, loss: str
) -> None:
    """Its replica lacks the last writes. A master that was killed comes back empty, a paused one with what it had."""
    async with running_fleet(redis, tmp_path, gateways=2, workers=2, wait_replicas=1, buckets=16) as fleet:
        users = fleet.new_users(24)
        await fleet.put_items(users, EVENTS)
        journal = asyncio.gather(*(send_all(fleet, user) for user in users))
        await until(lambda: acknowledged(fleet, users, len(users) * EVENTS // 4))
        start = redis.cut_off()
        await until(lambda: is_behind(redis, start))
        assert not journal.done(), "the master is to be lost before the last event"
        redis.kill() if loss == "killed" else redis.pause()
        redis.go_on(REPLICA)
        await until(lambda: is_promoted(redis))
        # Without another replica nothing is acknowledged.
        if loss == "killed":
            redis.nodes.wipe(LOST)
            redis.nodes.start(LOST)
        else:
            redis.go_on(LOST)
        await journal
        await fleet.judge(users)
        for user in users:
            assert await fleet.words(user) == numbered(user, range(EVENTS))


async def is_behind(redis: ReplicatedCluster, start: int) -> bool:
    return redis.offset() > start + LAG


async def is_promoted(redis: ReplicatedCluster) -> bool:
    return redis.nodes.role(REPLICA) == "master"


async def send_all(fleet: Fleet, user: str) -> None:
    for number in range(EVENTS):
        await fleet.client.send(numbered(user, [number]))


async def acknowledged(fleet: Fleet, users: list[str], count: int) -> bool:
    return sum(len(fleet.client.story(user).acknowledged) for user in users) >= count


@asynccontextmanager
async def gateway(redis: ReplicatedCluster, folder: Path, **state: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(
        Settings(redis_url=redis.url, data_dir=folder, state=StateSettings(replication_timeout_s=0.2, **state))
    )
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        yield client


async def test_while_replicas_are_down_only_the_strong_setting_refuses(
    redis: ReplicatedCluster, tmp_path: Path
) -> None:
    users = [f"u{number}" for number in range(12)]
    first, second = ([body(f"{user}-{number}") for user in users] for number in range(2))
    async with gateway(redis, tmp_path) as weak, gateway(redis, tmp_path, wait_replicas=1) as strong:
        await until(lambda: is_accepted(strong, first))
        for node in redis.nodes.nodes[3:]:
            redis.pause(node)
        for attempt in range(2):
            refused = await strong.post("/events", json=second)
            assert (refused.status_code, refused.json()["code"]) == (503, "state_unavailable"), f"attempt {attempt}"
            assert int(refused.headers["retry-after"]) >= 1
        assert (await strong.delete("/users/u0")).status_code == 503
        accepted = await weak.post("/events", json=second[1:])
        assert (accepted.status_code, accepted.json()["duplicates"]) == (202, len(users) - 1)

        for node in redis.nodes.nodes[3:]:
            redis.go_on(node)
        redis.nodes.settle()
        await until(lambda: is_accepted(strong, second))
        await until(lambda: is_deleted(strong, "u0"))


async def is_accepted(gateway: httpx.AsyncClient, events: list[dict[str, Any]]) -> bool:
    return (await gateway.post("/events", json=events)).status_code == 202


async def is_deleted(gateway: httpx.AsyncClient, user: str) -> bool:
    return (await gateway.delete(f"/users/{user}")).status_code == 204
