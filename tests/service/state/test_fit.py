"""A state has one number of buckets; with another, users would be looked up in the wrong buckets."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from service.errors import StateUnavailable
from service.settings import Settings
from service.settings.state import StateSettings
from service.state.store import Store
from tests.redis_servers import admin_of, all_keys, on_one_redis
from tests.service.state.conftest import event


@asynccontextmanager
async def store_of(redis_url: str, buckets: int) -> AsyncIterator[Store]:
    store = Store(Settings(redis_url=redis_url, state=StateSettings(buckets=buckets)))
    try:
        yield store
    finally:
        await store.close()


USES: dict[str, Callable[[Store], object]] = {
    "accept": lambda store: store.events.accept([event("u", 2)], 1),
    "claim": lambda store: store.summaries.claim(1),
    "delete": lambda store: store.users.delete("u"),
    "read": lambda store: store.items.get_many(["i"]),
    "ping": lambda store: store.ping(),
}


@pytest.mark.parametrize("use", USES)
async def test_a_state_with_another_number_of_buckets_is_not_touched(redis_url: str, use: str) -> None:
    async with store_of(redis_url, 4) as first:
        assert await first.events.accept([event("u", 1)], 1) == ["accepted"]
    with admin_of(redis_url) as admin:
        before = {key: admin.dump(key) for key in all_keys(admin)}
        async with store_of(redis_url, 8) as other:
            for _ in range(2):
                with pytest.raises(StateUnavailable, match="TASTESTREAM_STATE__BUCKETS=4"):
                    await USES[use](other)  # type: ignore[misc]
        assert {key: admin.dump(key) for key in all_keys(admin)} == before
    async with store_of(redis_url, 4) as same:
        assert await same.events.accept([event("u", 1)], 1) == ["duplicate"]


async def test_callers_do_not_see_the_settings(redis_url: str) -> None:
    async with store_of(redis_url, 4) as first, store_of(redis_url, 8) as other:
        await first.ping()
        with pytest.raises(StateUnavailable) as refused:
            await other.ping()
    assert "buckets" not in refused.value.public_detail


@on_one_redis
async def test_a_full_redis_without_the_number_can_still_be_drained(redis_url: str) -> None:
    async with store_of(redis_url, 4) as first:
        await first.events.accept([event("u", number) for number in range(3)], 1)
        with admin_of(redis_url) as admin:
            admin.delete("ts:buckets")
            admin.config_set("maxmemory", 1)
            try:
                async with store_of(redis_url, 4) as drained:
                    (claim,) = await drained.summaries.claim(1)
                    assert await drained.summaries.commit(claim, "text", "m", "p", 3)
                    assert not admin.exists("ts:buckets")
                    admin.config_set("maxmemory", 0)
                    await drained.ping()
            finally:
                admin.config_set("maxmemory", 0)
            assert admin.get("ts:buckets") == b"4"
