"""Rebuilding while workers fold and events arrive: every event is in the new summary once, in order (I2, I3)."""

import asyncio

from service.state.event_log import FIRST
from service.state.records import Event
from service.state.store import Store
from tests.stores import popularity
from tests.workers.conftest import Start, event, put, text, until
from tests.workers.doubles import RecordingSummarizer

USERS = [f"u{number}" for number in range(6)]
EVENTS = 60


async def rebuild(store: Store, user: str) -> str:
    """Rebuild like a slow caller: workers fold and events arrive between its read and its call."""
    ids, last = [], FIRST
    async for one in store.log.read(store.log.bucket(user)):
        last = one.id
        if one.event.user_id == user:
            ids.append(one.id)
    await asyncio.sleep(0)
    (result,) = await store.rebuilds.rebuild({user: ids}, last)
    return result.outcome


async def version(store: Store, user: str) -> int:
    summary = (await store.users.read(user)).summary
    return summary.version if summary else 0


async def rebuild_often(store: Store, user: str) -> None:
    """Rebuild twice whenever something was folded."""
    for _ in range(6):
        before = await version(store, user)

        async def folded(before: int = before) -> bool:
            return await version(store, user) > before

        await until(folded)
        assert await rebuild(store, user) == "rebuilt"
        assert await rebuild(store, user) == "rebuilt"


async def test_no_event_is_lost_or_repeated_while_users_are_rebuilt_again_and_again(store: Store, start: Start) -> None:
    sent: dict[str, list[Event]] = {user: [event(user, number) for number in range(EVENTS)] for user in USERS}
    for user in USERS:
        await put(store, sent[user][:6])
    for _ in range(2):
        await start(RecordingSummarizer())

    async def arrive(user: str) -> None:
        for number in range(6, EVENTS, 2):
            await put(store, sent[user][number : number + 2])

    await asyncio.gather(*(work(user) for user in USERS for work in (arrive, lambda user: rebuild_often(store, user))))

    async def folded() -> bool:
        return await store.users.backlog() == 0

    await until(folded)
    for user in USERS:
        assert (await text(store, user)).split() == [e.item_id for e in sent[user]]
        summary = (await store.users.read(user)).summary
        assert summary is not None
        assert summary.events == EVENTS
    assert await store.dead_letters.count() == 0


async def test_likes_that_are_folded_again_count_once(store: Store, start: Start) -> None:
    await put(store, [event("u", number) for number in range(6)])

    async def folded() -> bool:
        return await store.users.backlog() == 0

    for _ in range(3):
        worker = await start(RecordingSummarizer())
        await until(folded)
        await worker.drain()
        items = [f"u-{number}" for number in range(6)]
        assert await popularity(store, items) == dict.fromkeys(items, 1)
        assert await rebuild(store, "u") == "rebuilt"
