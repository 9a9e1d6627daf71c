"""The store on a Redis Cluster of three masters: every script stays on one slot."""

from collections.abc import AsyncIterator

import pytest

from service.settings import Settings, StateSettings
from service.state.records import Item
from service.state.store import Store
from tests.redis_servers import RedisCluster
from tests.service.state.conftest import START_MS, Clock, event


@pytest.fixture
def redis_url(redis_cluster: RedisCluster) -> str:
    redis_cluster.flush()
    return redis_cluster.url


@pytest.fixture
async def store(redis_url: str, clock: Clock) -> AsyncIterator[Store]:
    state = StateSettings(clock_skew_s=0)
    store = await Store.connect(Settings(redis_url=redis_url, state=state), clock)
    yield store
    await store.close()


async def test_users_live_and_die_on_a_cluster(store: Store, clock: Clock) -> None:
    users = [f"u{number}" for number in range(100)]
    batch = [event(user, number) for number in range(9) for user in users]
    assert set(await store.events.accept(batch, START_MS)) == {"accepted"}
    assert set(await store.events.accept(batch, START_MS)) == {"duplicate"}
    assert await store.users.due_count() == 100

    claims = await store.work.claim(100)
    assert {claim.user_id for claim in claims} == set(users)
    assert await store.work.extend(claims) == [True] * 100
    for claim in claims[:50]:
        assert await store.work.commit(claim, "text", "m", "p", 9)
    for claim in claims[50:]:
        assert await store.work.bury(claim, "bad", 9)
    assert await store.dead_letters.count() == 50
    letters = await store.dead_letters.list(100)
    assert await store.dead_letters.retry(letters[0].id) == "retried"
    assert await store.dead_letters.drop(letters[1].id)
    assert (await store.users.read(claims[0].user_id)).pending == 0
    for user in users:
        assert await store.users.delete(user)
    assert await store.dead_letters.count() == 0


async def test_items_evidence_and_scores_live_on_a_cluster(store: Store, clock: Clock) -> None:
    await store.items.put_many([Item(f"i{number}", "t", picture="a" * 64) for number in range(60)])
    for claim in await store.items.claim(60):
        assert await store.items.commit_summary(claim, "text", "m")
    items = await store.items.get_many([f"i{number}" for number in range(60)])
    assert len(items) == 60
    assert all(item.described for item in items.values())
    page, cursor = await store.items.page(50)
    rest, end = await store.items.page(50, cursor)
    assert (len(page), len(rest), end) == (50, 10, None)
    await store.evidence.record(["i1", "i2"], ["i3"])
    assert set(await store.evidence.neighbours(["i1"], 5)) == {"i2", "i3"}
    assert await store.evidence.popular(5) == ["i2", "i1"]
    assert await store.scores.write("u", "s", {"i1": (1, 0.5)}, clock())
    assert await store.items.delete("i1")
    assert await store.items.count() == 59
