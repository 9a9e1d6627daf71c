"""Stores of several tenants in one Redis, or one cluster: they share writes, and no keys."""

import asyncio

from service.state.records import Item
from service.state.store import Store
from tests.redis_servers import on_both
from tests.service.state.conftest import START_MS, event

USERS = [f"u{number}" for number in range(40)]


@on_both
async def test_events_that_are_written_together_reach_their_tenants(store: Store) -> None:
    stores = [store, store.of("shop"), store.of("shop-eu")]
    batches = [[event(user, number) for user in USERS for number in range(at + 1)] for at in range(3)]
    results = await asyncio.gather(
        *(one.events.accept(batch, START_MS) for one, batch in zip(stores, batches, strict=True))
    )
    assert [set(result) for result in results] == [{"accepted"}] * 3
    for at, one in enumerate(stores):
        assert await one.users.backlog() == len(USERS) * (at + 1)
        assert {(await one.users.read(user)).pending for user in USERS} == {at + 1}
    assert set(await stores[1].events.accept(batches[1], START_MS)) == {"duplicate"}


@on_both
async def test_an_erased_tenant_leaves_the_others_as_they_are(store: Store) -> None:
    shop, news = store.of("shop"), store.of("shop-eu")
    for one in (store, shop, news):
        await one.events.accept([event(user, 1) for user in USERS], START_MS)
        await one.items.put_many([Item(user, "t") for user in USERS])
    kept = [await one.erasure.count() for one in (store, news)]
    assert sum([number async for number in shop.erasure.erase()]) == kept[0]
    assert [await one.erasure.count() for one in (store, shop, news)] == [kept[0], 0, kept[1]]
    assert await news.users.backlog() == len(USERS)
