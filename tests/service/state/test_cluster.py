"""Redis Cluster: the users, items and dead letters of all masters form one store."""

import asyncio

import pytest

from service.settings import Settings
from service.settings.state import StateSettings
from service.state.records import Item
from service.state.store import Store
from tests.redis_servers import RedisCluster, all_keys, on_a_cluster
from tests.service.state.conftest import START_MS, Clock, event
from tests.stores import dead_letters

pytestmark = on_a_cluster


@pytest.fixture
def state() -> dict[str, int]:
    return {"buckets": 64}


async def test_users_and_items_are_distributed_over_all_masters(store: Store, redis_cluster: RedisCluster) -> None:
    await store.events.accept([event(f"u{number}", number) for number in range(200)], START_MS)
    await store.items.put_many([Item(f"i{number}", "t") for number in range(200)])
    for node in redis_cluster.masters:
        with redis_cluster.admin(node) as admin:
            assert len(all_keys(admin, "ts:{b*:p:*")) > 20
            assert len(all_keys(admin, "ts:{i*:m:*")) > 20


async def test_dead_letters_of_all_masters_are_listed_and_retried(store: Store, clock: Clock) -> None:
    users = {f"u{number}" for number in range(60)}
    await store.events.accept([event(user, number) for user in users for number in range(3)], START_MS)
    for claim in await store.summaries.claim(60):
        assert await store.summaries.dead_letter(claim, "bad", 3) == "dead_lettered"
    letters = await dead_letters(store)
    assert {letter.key for letter in letters} == users
    for letter in letters[:30]:
        assert await store.dead_letters.retry(letter.id) == "retried"
    assert await store.dead_letters.count() == 30
    for user in users:
        assert await store.users.delete(user)
    assert await store.dead_letters.count() == 0


async def test_more_requests_than_connections_wait_for_one(redis_url: str) -> None:
    store = Store(Settings(redis_url=redis_url, state=StateSettings(redis_connections=4, redis_timeout_s=20)))
    reads = await asyncio.gather(*(store.users.read(f"u{number}") for number in range(100)))
    assert [read.pending for read in reads] == [0] * 100
    await asyncio.gather(*(store.ping() for _ in range(100)))
    await store.close()
