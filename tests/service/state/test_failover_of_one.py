"""I1: a single Redis whose name resolves to another server after a failover, while the old one still answers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.errors import StateUnavailable
from service.settings import Settings
from service.settings.state import StateSettings
from service.state.store import Store
from tests.redis_servers import RedisServer
from tests.service.state.conftest import QUIET, START_MS, event


@pytest.fixture
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RedisServer, RedisServer]]:
    servers = RedisServer(tmp_path_factory.mktemp("old")), RedisServer(tmp_path_factory.mktemp("new"))
    for server in servers:
        server.start()
    yield servers
    for server in servers:
        server.kill()


async def test_connections_to_a_master_that_became_a_replica_are_closed(
    pair: tuple[RedisServer, RedisServer], tmp_path: Path
) -> None:
    old, new = pair
    name = tmp_path / "redis.sock"
    name.symlink_to(old.socket)
    store = Store(Settings(redis_url=f"unix://{name}", state=StateSettings(**QUIET)))
    assert await store.events.accept([event("u", 1)], START_MS) == ["accepted"]
    name.unlink()
    name.symlink_to(new.socket)
    with old.admin() as admin:
        admin.replicaof("127.0.0.1", "1")
    with pytest.raises(StateUnavailable, match="READONLY"):
        await store.events.accept([event("u", 2)], START_MS)
    assert await store.events.accept([event("u", 2)], START_MS) == ["accepted"]
    await store.close()
