"""I1: nothing is acknowledged before as many replicas and disks as the settings require have it."""

from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ResponseError

from service.errors import StateUnavailable
from service.settings import Settings
from service.settings.state import StateSettings
from service.state.redis.durability import Durability, NotDurable
from service.state.store import Store
from tests.redis_servers import RedisServer, has_waitaof
from tests.service.state.conftest import START_MS, Clock, event

DISK = {"wait_aof": True, "replication_timeout_s": 10.0}


def test_too_few_replicas_or_disks_are_an_error() -> None:
    one_replica = Durability.of(StateSettings(wait_replicas=1))
    both_disks = Durability.of(StateSettings(wait_replicas=1, wait_aof=True, replication_timeout_s=0.5))
    assert one_replica is not None
    assert both_disks is not None
    assert both_disks.wait == ("WAITAOF", 1, 1, 500)
    assert one_replica.confirmed(["a", 1]) == ["a"]
    assert both_disks.confirmed(["a", "b", [1, 2]]) == ["a", "b"]
    for durability, reached in ((one_replica, 0), (both_disks, [0, 1]), (both_disks, [1, 0])):
        with pytest.raises(NotDurable):
            durability.confirmed(["a", reached])
    with pytest.raises(ResponseError):
        one_replica.confirmed(["a", ResponseError("no such command")])
    assert Durability.of(StateSettings()) is None


class TestDisk:
    @pytest.fixture
    def state(self) -> dict[str, Any]:
        return DISK

    async def test_what_is_on_disk_is_acknowledged(self, store: Store) -> None:
        if not has_waitaof():
            pytest.skip("WAITAOF came with Redis 7.2")
        batch = [event(f"u{number}", number) for number in range(40)]
        assert set(await store.events.accept(batch, START_MS)) == {"accepted"}
        assert set(await store.events.accept(batch, START_MS)) == {"duplicate"}
        assert await store.users.delete("u1")


async def test_a_redis_that_has_no_file_to_write_to_acknowledges_nothing(tmp_path: Path, clock: Clock) -> None:
    server = RedisServer(tmp_path)
    server.start("--appendonly", "no")
    store = Store(Settings(redis_url=server.url, state=StateSettings(**DISK)), clock)
    with pytest.raises(StateUnavailable, match="WAITAOF"):
        await store.events.accept([event("u", 1)], START_MS)
    await store.close()
    server.kill()
