"""What folding counts: popularity and co-occurrence, in which a user is one vote."""

from typing import Any

import pytest

from service.settings import Settings
from service.settings.signals import SignalSettings
from service.state.records import Event, Item
from service.state.store import Store
from tests.stores import collaborative, neighbours_of
from tests.workers.conftest import NOW_MS, Start, event, put, until
from tests.workers.doubles import RecordingSummarizer
from tests.workers.folding import names, popularity_is, summary_is


async def test_likes_are_counted_together_with_earlier_likes(store: Store, start: Start) -> None:
    await start(RecordingSummarizer())
    await put(store, [event("u", 0), event("u", 1, type="dislike"), event("u", 2, type="view")])
    await until(lambda: summary_is(store, "u", names("u", 3)))
    await put(store, [event("u", 3), event("u", 4), event("u", 5, type="skip")])
    await until(lambda: summary_is(store, "u", names("u", 6)))
    await until(lambda: popularity_is(store, {"u-0": 1, "u-1": 0, "u-2": 0, "u-3": 1, "u-4": 1, "u-5": 0}))
    assert set(await neighbours_of(store, "u-0", 9)) == {"u-3", "u-4"}
    assert set(await neighbours_of(store, "u-3", 9)) == {"u-0", "u-4"}
    assert await collaborative(store, ["u-3"], ["u-0", "u-4"]) == {"u-0": 1, "u-4": 1}, "counted once"


async def test_signals_decide_what_counts_as_liked(store: Store, start: Start) -> None:
    await start(RecordingSummarizer())
    liked = [("add_to_cart", None), ("buy", None), ("favorite", None), ("star", None), ("rating", 5.0)]
    others = [("rating", 1.0), ("rating", 3.0), ("thumbs_down", None), ("refund", None), ("wink", None)]
    kinds = [*liked, *others]
    await put(store, [event("u", number, type=kind, value=value) for number, (kind, value) in enumerate(kinds)])
    await until(lambda: summary_is(store, "u", names("u", len(kinds))))
    counts = {f"u-{number}": float(number < len(liked)) for number in range(len(kinds))}
    await until(lambda: popularity_is(store, counts))
    assert await neighbours_of(store, "u-0", 99) == [f"u-{number}" for number in range(1, len(liked))]


async def test_the_settings_decide_what_counts_as_liked(store: Store, start: Start, settings: Settings) -> None:
    given = settings.model_copy(update={"signals": SignalSettings(positive=("wink",), neutral=("like",))})
    await start(RecordingSummarizer(), given)
    await put(store, [event("u", 0, type="wink"), event("u", 1, type="like")])
    await until(lambda: summary_is(store, "u", names("u", 2)))
    await until(lambda: popularity_is(store, {"u-0": 1, "u-1": 0}))


async def like(store: Store, user: str, *items: str, start_at: int = 0) -> None:
    """Like the items one by one, each in a fold."""
    for number, item in enumerate(items, start_at):
        given = Event(f"{user}-{number}", user, item, "like", NOW_MS + number)
        assert await store.events.accept([given], 10**14) == ["accepted"]
        await until(lambda: _folded(store, user))


async def _folded(store: Store, user: str) -> bool:
    return (await store.users.read(user)).pending == 0


async def _near(store: Store, item: str, expected: set[str]) -> bool:
    return set(await neighbours_of(store, item, 9)) == expected


class TestOneUserIsOneVote:
    """In popularity and in co-occurrence, also across folds."""

    @pytest.fixture
    def state(self) -> dict[str, Any]:
        return {"block_size": 1}

    async def test_a_user_who_likes_two_items_in_turns_counts_once_for_each_and_once_for_both(
        self, store: Store, start: Start
    ) -> None:
        await store.items.put_many([Item("a", "a"), Item("b", "b")])
        await start(RecordingSummarizer())
        await like(store, "u", *["a", "b"] * 8)
        await until(lambda: popularity_is(store, {"a": 1, "b": 1}))
        assert await collaborative(store, ["a"], ["b"]) == {"b": 1}

    async def test_nine_hundred_likes_of_one_item_are_one(self, store: Store, start: Start) -> None:
        await store.items.put_many([Item("a", "a"), Item("b", "b")])
        await start(RecordingSummarizer())
        for start_at in range(0, 900, 300):
            likes = [Event(f"u-{n}", "u", "a", "like", NOW_MS + n) for n in range(start_at, start_at + 300)]
            assert await store.events.accept(likes, 10**14) == ["accepted"] * 300
            await until(lambda: _folded(store, "u"))
        await like(store, "v", "b")
        await like(store, "w", "b")
        await until(lambda: popularity_is(store, {"a": 1, "b": 2}))

    async def test_signing_up_liking_and_deleting_again_and_again_leaves_nothing(
        self, store: Store, start: Start
    ) -> None:
        await store.items.put_many([Item(name, name) for name in "abc"])
        await start(RecordingSummarizer())
        await like(store, "other", "a", "b")
        await until(lambda: popularity_is(store, {"a": 1, "b": 1, "c": 0}))
        for round_ in range(5):
            await like(store, f"u{round_}", "a", "b", "c", "a")
            await until(lambda: popularity_is(store, {"a": 2, "b": 2, "c": 1}))
            await until(lambda: _near(store, "c", {"a", "b"}))
            assert await store.users.delete(f"u{round_}")
        assert await popularity_is(store, {"a": 1, "b": 1, "c": 0})
        assert await collaborative(store, ["a", "c"], ["b"]) == {"b": 1}

    async def test_an_item_liked_first_among_many_views_is_still_paired_and_taken_back(
        self, store: Store, start: Start
    ) -> None:
        """It has left the recents and is found by its digest."""
        await store.items.put_many([Item("a", "a"), Item("b", "b")])
        await start(RecordingSummarizer())
        await like(store, "u", "a")
        views = [event("u", number, type="view") for number in range(100, 160)]
        await put(store, views)
        await until(lambda: _folded(store, "u"))
        await like(store, "u", "b", "a", start_at=200)
        await until(lambda: popularity_is(store, {"a": 1, "b": 1}))
        await until(lambda: _near(store, "b", {"a"}))
        assert await collaborative(store, ["a"], ["b"]) == {"b": 1}
        await store.users.delete("u")
        assert await popularity_is(store, {"a": 0, "b": 0})
        assert await _near(store, "b", set())


async def test_likes_that_come_before_their_item_count_when_it_comes(store: Store, start: Start) -> None:
    await store.items.put(Item("a", "a"))
    await start(RecordingSummarizer())
    for user in ("u", "v", "w"):
        await store.events.accept(
            [Event(f"{user}1", user, "a", "like", 1), Event(f"{user}2", user, "late", "like", 2)], 10**14
        )
    await until(lambda: popularity_is(store, {"a": 3}))
    await until(lambda: _nothing_pending(store))
    await store.items.put(Item("late", "late"))
    assert await popularity_is(store, {"a": 3, "late": 3})
    assert await collaborative(store, ["a"], ["late"]) == {"late": 1}


async def _nothing_pending(store: Store) -> bool:
    return await store.users.backlog() == 0
