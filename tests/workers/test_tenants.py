"""One worker serves all tenants, each with its own model, and none of them can keep the others waiting."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from model_store.views import InteractionView
from service.pictures.store import open_pictures
from service.settings import Settings
from service.settings.tenants import TenantSettings
from service.state.keys import Keys
from service.state.records import Item
from service.state.store import Store
from tests.redis_servers import admin_of, all_keys
from tests.stores import popularity
from tests.workers.conftest import Worker, event, put, text, until
from tests.workers.doubles import RecordingSummarizer

SHOP, NEWS = "shop", "shop-eu"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"tenants": {SHOP: TenantSettings(), NEWS: TenantSettings()}})


@pytest.fixture
async def shop(store: Store) -> Store:
    return store.of(SHOP)


@pytest.fixture
async def news(store: Store) -> Store:
    return store.of(NEWS)


class Named(RecordingSummarizer):
    """A summarizer with its own name."""

    name = ""

    @property
    def id(self) -> str:
        return self.name


def named(name: str, **more: Any) -> Named:
    one = Named(**more)
    one.name = name
    return one


@pytest.fixture
async def running() -> AsyncIterator[list[Worker]]:
    workers: list[Worker] = []
    yield workers
    for worker in workers:
        await worker.drain()


async def test_each_tenant_is_folded_by_its_own_model(
    store: Store, shop: Store, news: Store, settings: Settings, running: list[Worker]
) -> None:
    everyone, own = named("everyone@1"), named("own@1")
    running.append(Worker(settings, everyone, **{NEWS: own}))
    for one in (store, shop, news):
        await put(one, [event("u", number, type="like") for number in range(3)])

    async def folded() -> bool:
        return all([await text(one, "u") == "u-0 u-1 u-2" for one in (store, shop, news)])

    await until(folded)
    written = [(await one.users.read("u")).summary for one in (store, shop, news)]
    assert [summary and summary.model for summary in written] == ["everyone@1", "everyone@1", "own@1"]
    assert (len(everyone.blocks), len(own.blocks)) == (2, 1)

    async def counted() -> bool:
        return all([await popularity(one, ["u-0"]) == {"u-0": 1.0} for one in (store, shop, news)])

    await until(counted)


async def test_what_a_worker_writes_for_a_tenant_is_in_its_keys(
    shop: Store, settings: Settings, redis_url: str, running: list[Worker]
) -> None:
    await put(shop, [event("u", number, type="like") for number in range(40)])
    running.append(Worker(settings, RecordingSummarizer()))

    async def folded() -> bool:
        return len((await text(shop, "u")).split()) == 40

    await until(folded)
    with admin_of(redis_url) as admin:
        others = [key for key in all_keys(admin, "ts*") if not key.decode().startswith(Keys(4, SHOP).stem)]
    # Only the locks of periodic tasks, which each tenant has.
    assert {key.decode().partition(":")[2] for key in others} <= {"lock:sweep"}


async def test_a_backlog_of_one_tenant_does_not_keep_another_waiting(
    shop: Store, news: Store, settings: Settings, running: list[Worker]
) -> None:
    settings = settings.model_copy(
        update={"worker": settings.worker.model_copy(update={"max_concurrent_summaries": 4})}
    )
    order: list[str] = []

    async def note(summary: str, block: Sequence[InteractionView]) -> None:
        order.append(block[0].item.title.partition("-")[0] if block[0].item else "?")
        await asyncio.sleep(0.002)

    for number in range(0, 300, 50):
        users = range(number, number + 50)
        await put(shop, [event(f"big{user}", at) for user in users for at in range(3)])
    running.append(Worker(settings, RecordingSummarizer(note)))
    await until(lambda: _true(len(order) >= 10))
    before = len(order)
    await put(news, [event(f"small{user}", at) for user in range(10) for at in range(3)])

    async def served() -> bool:
        return all([await text(news, f"small{user}") for user in range(10)])

    await until(served)
    last = max(place for place, one in enumerate(order) if one.startswith("small"))
    assert last - before < 150, "long before the backlog is done"
    assert sum(one.startswith("big") for one in order[before:last]) > 0, "and the other one goes on meanwhile"


async def test_a_model_that_hangs_holds_up_only_the_tenants_that_use_it(
    shop: Store, news: Store, settings: Settings, running: list[Worker]
) -> None:
    opened = asyncio.Event()

    async def hang(summary: str, block: Sequence[InteractionView]) -> None:
        await opened.wait()

    await put(shop, [event(f"u{user}", at) for user in range(200) for at in range(3)])
    running.append(Worker(settings, RecordingSummarizer(hang), **{NEWS: named("own@1")}))
    await put(news, [event("u", number) for number in range(3)])
    await until(lambda: _folded(news))
    assert await text(shop, "u0") == ""
    opened.set()


async def test_unused_pictures_are_removed_for_each_tenant(
    store: Store, shop: Store, settings: Settings, running: list[Worker]
) -> None:
    pictures = open_pictures(settings)
    of_shop = pictures.of(settings.of_tenant(SHOP).pictures_url)
    used, same = await of_shop.write(b"used by the shop"), await pictures.write(b"used by the shop")
    unused = await of_shop.write(b"unused")
    assert used == same
    assert await pictures.of(settings.of_tenant(NEWS).pictures_url).read(used) is None
    await shop.items.put(Item("i", "A kettle", picture=used))
    await store.items.put(Item("i", "A lantern"))
    quick = settings.pictures.model_copy(update={"grace_s": 0.001, "sweep_every_s": 0.05})
    running.append(Worker(settings.model_copy(update={"pictures": quick}), RecordingSummarizer()))
    folder = settings.data_dir / "pictures"

    async def swept() -> bool:
        return not _file(folder, same).exists() and not _file(folder / "tenants" / SHOP, unused).exists()

    await until(swept)
    assert _file(folder / "tenants" / SHOP, used).exists()


def _file(folder: Path, picture: str) -> Path:
    return folder / picture[:2] / picture


async def _folded(store: Store) -> bool:
    return await text(store, "u") != ""


async def _true(condition: bool) -> bool:
    return condition
