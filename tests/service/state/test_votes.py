"""One user, one vote: for an item and for a pair, until the user is deleted."""

import random

import pytest

from service.state import votes
from service.state.store import Store
from tests.redis_servers import admin_of, all_keys
from tests.stores import collaborative, popularity


def test_an_item_counts_when_it_is_first_liked() -> None:
    record = votes.counted("", ["a", "b"], 10)
    assert votes.uncounted(record, ["b", "c", "a", "c", "d"]) == ["c", "d"]
    assert votes.uncounted("", ["a", "a"]) == ["a"]


def test_the_record_keeps_the_last_items_in_four_characters_each() -> None:
    record = votes.counted("", [f"i{number}" for number in range(5)], 3)
    record = votes.counted(record, ["x" * 256], 3)
    assert len(record) == 12
    assert votes.named(record, ["i4", "i3", "i0"]) == ["i3", "i4", None]
    assert votes.uncounted(record, ["i0", "i2", "i3", "x" * 256]) == ["i0", "i2"]


def test_the_record_names_the_pairs_that_were_counted() -> None:
    """So a deletion withdraws exactly these."""
    drawn = random.Random(1)
    ballot, record, counted = [f"i{number}" for number in range(60)], "", set[tuple[str, str]]()
    while len(record) < 4 * 60:
        place = len(record) // 4
        new = ballot[place : place + drawn.randrange(1, 5)]
        before = votes.named(votes.last(record), ballot)
        counted |= set(votes.pairs([*before, *new], len(before)))
        record = votes.counted(record, new, 200)
    assert counted == set(votes.pairs(votes.named(record, ballot)))


async def test_a_withdrawal_leaves_what_others_added(store: Store, redis_url: str) -> None:
    await store.cooccurrence.record(["a", "b"], [])
    await store.cooccurrence.record(["b", "c"], [])
    await store.cooccurrence.record(["d"], ["c", None, "b"])
    await store.cooccurrence.withdraw(["b", "c", "d", None])
    assert await popularity(store, ["a", "b", "c", "d"]) == {"a": 1, "b": 1, "c": 0, "d": 0}
    assert await collaborative(store, ["a", "c", "d"], ["b"]) == {"b": 1}
    await store.cooccurrence.withdraw(["a", "b"])
    await store.cooccurrence.withdraw(["a", "b"])
    with admin_of(redis_url) as admin:
        assert all_keys(admin, "ts:{c:*") + all_keys(admin, "ts:popular") == []


@pytest.mark.parametrize("users", [1, 7])
async def test_a_cosine_is_never_above_one(store: Store, users: int) -> None:
    for _ in range(users):
        await store.cooccurrence.record(["a", "b", "a", "b"], [])
    assert await collaborative(store, ["a"], ["b"]) == {"b": pytest.approx(1)}
    with_gap = [("a", 1), ("b", 1)]
    await store.cooccurrence.seed("m@1", with_gap, [("b", "a", 40), ("a", "b", 40)])
    assert await collaborative(store, ["a"], ["b"]) == {"b": 1}
