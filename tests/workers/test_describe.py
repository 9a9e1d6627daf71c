"""Each picture is described once per revision; failures are retried, then dead-lettered."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from model_store.engine.errors import BadAnswer, EngineTimeout, EngineUnavailable
from model_store.views import InteractionView
from service.pictures.store import open_pictures
from service.settings import Settings
from service.state.records import Item
from service.state.store import Store
from tests.stores import dead_letters
from tests.workers.conftest import Start, event, put, text, until
from tests.workers.doubles import RecordingSummarizer


@pytest.fixture
async def picture(settings: Settings) -> str:
    """The hash of a stored picture."""
    return await open_pictures(settings).write(b"picture bytes")


async def summary(store: Store, item_id: str) -> str:
    item = await store.items.get(item_id)
    return item.summary if item else ""


async def test_a_picture_becomes_the_items_summary(store: Store, start: Start, picture: str) -> None:
    engine = RecordingSummarizer()
    worker = await start(engine)
    await store.items.put_many([Item(f"i{n}", f"title {n}", picture=picture) for n in range(20)])
    for n in range(20):
        await until(lambda n=n: _is(store, f"i{n}", f"a picture of title {n}"))
    assert {view.image for view in engine.described} == {b"picture bytes"}
    assert len(engine.described) == 20

    async def counted() -> bool:
        return worker.count("describe", "committed") == 20

    await until(counted)


async def _is(store: Store, item_id: str, expected: str) -> bool:
    return await summary(store, item_id) == expected


async def test_a_changed_item_is_described_again_without_its_old_summary(
    store: Store, start: Start, picture: str
) -> None:
    engine = RecordingSummarizer()
    await start(engine)
    await store.items.put(Item("i", "old", picture=picture))
    await until(lambda: _is(store, "i", "a picture of old"))
    await store.items.put(Item("i", "new", picture=picture))
    await until(lambda: _is(store, "i", "a picture of new"))
    assert [view.summary for view in engine.described] == ["", ""]


async def test_a_description_of_an_older_revision_is_not_stored(store: Store, start: Start, picture: str) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def fault(title: str, _: Sequence[InteractionView]) -> None:
        entered.set()
        if title == "old":
            await go_on.wait()

    worker = await start(RecordingSummarizer(fault))
    await store.items.put(Item("i", "old", picture=picture))
    await entered.wait()
    await store.items.put(Item("i", "new", picture=picture))
    await until(lambda: _is(store, "i", "a picture of new"))
    go_on.set()

    async def lost() -> bool:
        return worker.count("describe", "lost") == 1

    await until(lost)
    assert await summary(store, "i") == "a picture of new"


async def test_an_item_that_cannot_be_described_is_dead_lettered_and_blocks_no_other(
    store: Store, settings: Settings, start: Start, picture: str
) -> None:
    tries = 0

    async def fault(title: str, _: Sequence[InteractionView]) -> None:
        nonlocal tries
        if title == "bad":
            tries += 1
            raise BadAnswer("empty", "")

    await start(RecordingSummarizer(fault))
    await store.items.put_many(
        [
            Item("bad", "bad", picture=picture),
            Item("gone", "gone", picture="0" * 64),
            Item("good", "good", picture=picture),
        ]
    )
    await until(lambda: _is(store, "good", "a picture of good"))

    async def dead_lettered() -> bool:
        return await store.dead_letters.count() == 2

    await until(dead_lettered)
    letters = {letter.key: letter for letter in await dead_letters(store)}
    assert {key: letter.reason for key, letter in letters.items()} == {"bad": "answer_empty", "gone": "picture_missing"}
    assert {letter.kind for letter in letters.values()} == {"describe"}
    assert await summary(store, "bad") == ""
    assert tries == settings.state.max_attempts


async def test_an_engine_that_is_down_costs_no_attempt(store: Store, start: Start, picture: str) -> None:
    calls = 0

    async def fault(title: str, _: Sequence[InteractionView]) -> None:
        nonlocal calls
        calls += 1
        if calls <= 10:
            raise EngineUnavailable("down")

    worker = await start(RecordingSummarizer(fault))
    await store.items.put(Item("i", "title", picture=picture))
    await until(lambda: _is(store, "i", "a picture of title"))
    assert worker.count("describe", "released") == 10
    assert await store.dead_letters.count() == 0


class TestFailureOutsideTheModel:
    @pytest.fixture
    def state(self) -> dict[str, Any]:
        return {"retry_initial_s": 100, "retry_max_s": 100}

    async def test_pictures_that_cannot_be_read_keep_no_event_from_being_folded(
        self, store: Store, start: Start, settings: Settings, picture: str
    ) -> None:
        folder = settings.data_dir / "pictures"
        folder.rename(settings.data_dir / "away")
        folder.write_text("not a folder")
        worker = await start(RecordingSummarizer())
        await store.items.put_many([Item(f"i{n}", f"title {n}", picture=picture) for n in range(3)])

        async def released() -> bool:
            return worker.count("describe", "released") >= 1

        await until(released)
        await put(store, [event("u", number) for number in range(3)])
        await until(lambda: _folded(store, "u", "u-0 u-1 u-2"))
        assert await store.dead_letters.count() == 0


async def _folded(store: Store, user: str, expected: str) -> bool:
    return await text(store, user) == expected


async def test_a_missing_picture_does_not_show_that_the_model_answers(store: Store, start: Start) -> None:
    """Otherwise events that the model does not answer would count as the cause, and be dead-lettered."""

    async def fault(title: str, _: Sequence[InteractionView]) -> None:
        raise EngineTimeout("hangs")

    worker = await start(RecordingSummarizer(fault))
    await put(store, [event("u", number) for number in range(3)])
    missing = 0

    async def released() -> bool:
        nonlocal missing
        missing += 1
        await store.items.put(Item(f"i{missing}", "title", picture="0" * 64))
        return worker.folds("released") >= 12

    await until(released)
    assert worker.folds("retried") == worker.folds("dead_lettered") == 0
    assert worker.count("describe", "retried") > 0
