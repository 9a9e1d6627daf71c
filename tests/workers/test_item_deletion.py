"""An item that is deleted while its like is folded is not counted."""

import asyncio
from collections.abc import Sequence

from model_store.views import InteractionView
from service.state.records import Item
from service.state.store import Store
from tests.stores import neighbours_of, popularity
from tests.workers.conftest import Start, event, put, text, until
from tests.workers.doubles import RecordingSummarizer


async def test_a_like_of_an_item_that_was_deleted_meanwhile_is_not_counted(store: Store, start: Start) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def hold(summary: str, block: Sequence[InteractionView]) -> None:
        entered.set()
        await go_on.wait()

    worker = await start(RecordingSummarizer(hold))
    await put(store, [event("u", number) for number in range(3)])
    await entered.wait()
    await store.items.delete("u-1")
    await store.items.put(Item("u-1", "another"))
    await store.items.delete("u-0")
    go_on.set()

    async def counted() -> bool:
        return await popularity(store, ["u-2"]) == {"u-2": 1}

    await until(counted)
    await worker.drain()
    assert await text(store, "u") == "u-0 u-1 u-2"
    assert await popularity(store, ["u-0"]) == {"u-0": 0}
    assert await neighbours_of(store, "u-2", 5) == []
