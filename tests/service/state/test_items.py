"""The catalogue: revisions, pages, and describing under a lease (I4, I7)."""

import asyncio
import base64
from dataclasses import replace
from typing import Any

import pytest

from service.errors import InvalidRequest
from service.state.records import Item, ItemClaim
from service.state.store import Store
from tests.service.state.conftest import Clock
from tests.stores import collaborative, dead_letters, neighbours_of, popularity

FULL = Item(
    "i}{1 é",
    "A title",
    description="words",
    genres=("drama", "war"),
    tags=("slow",),
    attributes={"year": 1999, "nested": {"empty": []}},
    picture="a" * 64,
)


async def claim_one(store: Store) -> ItemClaim:
    (claim,) = await store.descriptions.claim(10)
    return claim


async def test_an_item_is_read_as_it_was_put(store: Store) -> None:
    stored, created = await store.items.put(FULL)
    assert created
    assert stored == replace(FULL, revision=1)
    assert await store.items.get(FULL.item_id) == stored
    assert await store.items.get_many(["none", FULL.item_id, FULL.item_id]) == {FULL.item_id: stored}
    assert await store.items.known(["none", FULL.item_id]) == {FULL.item_id}
    assert await store.items.get_many([]) == {}


async def test_only_a_change_makes_a_revision(store: Store) -> None:
    await store.items.put(FULL)
    same, created = await store.items.put(replace(FULL, attributes={"nested": {"empty": []}, "year": 1999}))
    assert (same.revision, created) == (1, False)
    changed, _ = await store.items.put(replace(FULL, title="Another"))
    assert changed.revision == 2
    refused, _ = await store.items.put(replace(FULL, title="Another", picture_error="no picture"))
    assert (refused.revision, refused.picture_error) == (2, "no picture")


async def test_a_picture_is_kept_when_asked(store: Store) -> None:
    await store.items.put(replace(FULL, picture_error="old"))
    kept, _ = await store.items.put(replace(FULL, title="Another", picture=None), keep="both")
    assert (kept.picture, kept.picture_error) == (FULL.picture, "old")
    refused, _ = await store.items.put(replace(FULL, picture=None, picture_error="new"), keep="picture")
    assert (refused.picture, refused.picture_error) == (FULL.picture, "new")
    gone, _ = await store.items.put(replace(FULL, picture=None))
    assert (gone.picture, gone.picture_error) == (None, None)


async def test_an_item_with_a_picture_is_described_once_for_each_revision(store: Store) -> None:
    await store.items.put(FULL)
    await store.items.put(Item("plain", "no picture"))
    claim = await claim_one(store)
    assert claim.item.item_id == FULL.item_id
    assert await store.descriptions.commit(claim, "a war drama", "m@1")
    assert await store.descriptions.commit(claim, "a war drama", "m@1")
    item = await store.items.get(FULL.item_id)
    assert item is not None
    assert (item.summary, item.summary_model, item.described) == ("a war drama", "m@1", True)
    assert await store.descriptions.claim(10) == []


@pytest.mark.parametrize("change", [{"title": "Another"}, {"tags": ()}, {"picture": "b" * 64}])
async def test_a_summary_of_other_words_or_another_picture_is_void(store: Store, change: dict[str, Any]) -> None:
    await store.items.put(FULL)
    assert await store.descriptions.commit(await claim_one(store), "a war drama", "m@1")
    stored, _ = await store.items.put(replace(FULL, **change))
    assert (stored.summary, stored.summary_model, stored.described) == ("", "", False)
    assert (await claim_one(store)).item.revision == 2


async def test_a_change_of_attributes_costs_no_description(store: Store) -> None:
    await store.items.put(FULL)
    claim = await claim_one(store)
    changed, _ = await store.items.put(replace(FULL, attributes={"year": 2000}))
    assert (changed.revision, changed.attributes) == (2, {"year": 2000})
    assert await store.descriptions.commit(claim, "a war drama", "m@1")
    changed, _ = await store.items.put(replace(FULL, attributes=None))
    assert (changed.revision, changed.attributes) == (3, None)
    assert (changed.summary, changed.described) == ("a war drama", True)
    assert await store.descriptions.claim(10) == []


async def test_another_description_of_the_same_is_another_revision(store: Store) -> None:
    await store.items.put(FULL)
    await store.descriptions.dead_letter(await claim_one(store), "bad")
    await store.items.put(replace(FULL, title="Another"))
    assert await store.descriptions.commit(await claim_one(store), "one", "m")
    (letter,) = await dead_letters(store)
    assert await store.dead_letters.retry(letter.id) == "retried"
    assert await store.descriptions.commit(await claim_one(store), "two", "m")
    item = await store.items.get(FULL.item_id)
    assert item is not None
    assert (item.summary, item.revision) == ("two", 3)


async def test_a_retried_dead_letter_ends_no_claim_and_describes_no_item_without_a_picture(store: Store) -> None:
    for change in ({"title": "Another"}, {"picture": None}):
        await store.items.put(FULL)
        await store.descriptions.dead_letter(await claim_one(store), "bad")
        await store.items.put(replace(FULL, **change))
        claims = await store.descriptions.claim(10)
        (letter,) = await dead_letters(store)
        assert await store.dead_letters.retry(letter.id) == "retried"
        assert await dead_letters(store) == []
        assert await store.descriptions.claim(10) == []
        assert all([await store.descriptions.commit(claim, "text", "m") for claim in claims])
        await store.items.delete(FULL.item_id)


async def test_a_description_of_an_older_revision_is_not_stored(store: Store) -> None:
    await store.items.put(FULL)
    old = await claim_one(store)
    await store.items.put(replace(FULL, picture="b" * 64))
    assert not await store.descriptions.commit(old, "old", "m")
    assert not await store.descriptions.fail(old, 1)
    new = await claim_one(store)
    assert not await store.descriptions.commit(old, "old", "m")
    assert await store.descriptions.commit(new, "new", "m")


async def test_a_describer_whose_lease_ran_out_cannot_commit(store: Store, clock: Clock) -> None:
    await store.items.put(FULL)
    late = await claim_one(store)
    assert await store.descriptions.claim(10) == []
    clock.pass_s(60)
    assert not await store.descriptions.commit(late, "late", "m")
    claim = await claim_one(store)
    assert claim.token > late.token
    assert not await store.descriptions.commit(late, "late", "m")
    assert await store.descriptions.commit(claim, "text", "m")


async def test_failures_are_counted_wait_and_end_in_a_dead_letter(store: Store, clock: Clock) -> None:
    await store.items.put(FULL)
    assert await store.descriptions.fail(await claim_one(store), 2)
    assert await store.descriptions.claim(10) == []
    clock.pass_s(2)
    claim = await claim_one(store)
    assert claim.attempts == 1
    assert await store.descriptions.release(claim)
    assert await store.descriptions.dead_letter(await claim_one(store), "answer_empty") == "dead_lettered"
    assert await store.descriptions.claim(10) == []
    (letter,) = await dead_letters(store)
    assert (letter.kind, letter.key, letter.reason, letter.events) == ("describe", FULL.item_id, "answer_empty", ())
    assert await store.dead_letters.retry(letter.id) == "retried"
    assert (await claim_one(store)).attempts == 0


async def test_described_dead_lettered_and_pictureless_items_are_not_due(store: Store, clock: Clock) -> None:
    for item_id in ("described", "failed", "bare"):
        await store.items.put(replace(FULL, item_id=item_id))
    await store.items.put(Item("bare", "no picture"))
    claims = {claim.item.item_id: claim for claim in await store.descriptions.claim(10)}
    assert claims.keys() == {"described", "failed"}
    assert await store.descriptions.commit(claims["described"], "text", "m")
    assert await store.descriptions.dead_letter(claims["failed"], "bad") == "dead_lettered"
    clock.pass_s(3600)
    assert await store.descriptions.claim(10) == []


async def test_a_deleted_item_is_nowhere(store: Store) -> None:
    await store.items.put(FULL)
    claim = await claim_one(store)
    await store.descriptions.dead_letter(claim, "bad")
    await store.cooccurrence.record([FULL.item_id], ["other"])
    await store.items.put(replace(FULL, title="Another"))
    claim = await claim_one(store)
    assert await store.items.delete(FULL.item_id)
    assert not await store.items.delete(FULL.item_id)
    assert not await store.descriptions.commit(claim, "text", "m")
    assert await store.items.get(FULL.item_id) is None
    assert await store.items.page(10) == ([], None)
    assert await store.items.count() == 0
    assert await popularity(store, [FULL.item_id]) == {FULL.item_id: 0}
    assert await neighbours_of(store, FULL.item_id, 5) == []
    (letter,) = await dead_letters(store)
    assert await store.dead_letters.retry(letter.id) == "retried"
    assert await store.descriptions.claim(10) == []


async def test_a_deleted_item_leaves_the_lists_of_others(store: Store) -> None:
    await store.items.put_many([Item(name, name) for name in "abc"])
    await store.cooccurrence.record(["a", "b", "c"], [])
    await store.items.delete("b")
    await store.items.put(Item("b", "b"))
    assert await popularity(store, ["b"]) == {"b": 0}
    await store.cooccurrence.record(["b"], [])
    assert await neighbours_of(store, "a", 5) == ["c"]
    assert await collaborative(store, ["a"], ["b", "c"]) == {"b": 0, "c": 1}


async def test_an_item_put_again_after_its_deletion_is_not_taken_for_the_old_one(store: Store) -> None:
    await store.items.put(FULL)
    await store.items.put(replace(FULL, title="Another"))
    await store.items.delete(FULL.item_id)
    stored, created = await store.items.put(replace(FULL, title="A third"))
    assert (stored.revision, created) == (3, True)


@pytest.mark.parametrize("limit", [1, 7, 50, 1000])
async def test_pages_show_every_item_once(store: Store, limit: int) -> None:
    await store.items.put_many([Item(f"item-{number}", "t") for number in range(50)])
    seen: list[str] = []
    cursor = None
    for _ in range(60):
        items, cursor = await store.items.page(limit, cursor)
        assert len(items) <= limit
        seen += [item.item_id for item in items]
        if cursor is None:
            break
    assert sorted(seen) == sorted(f"item-{number}" for number in range(50))


FOREIGN = [
    base64.urlsafe_b64encode(text).decode()
    for text in (b'[1.0,"a"]', b'[true,"a"]', b'[-1,"a"]', b'["1","a"]', b'[[],"a"]', b'[{},"a"]', b'[0,"a",0]', b"[0]")
]


@pytest.mark.parametrize("cursor", ["", "x", "é", "WzAs", "WzksImEiXQ==", "WzAsMV0=", "e30=", "bnVsbA==", *FOREIGN])
async def test_a_cursor_from_elsewhere_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(InvalidRequest):
        await store.items.page(5, cursor)


async def test_many_describers_at_once_get_every_item_once(store: Store) -> None:
    await store.items.put_many([Item(f"item-{number}", "t", picture="a" * 64) for number in range(40)])
    rounds = await asyncio.gather(*(store.descriptions.claim(10) for _ in range(8)))
    ids = [claim.item.item_id for claims in rounds for claim in claims]
    ids += [claim.item.item_id for claim in await store.descriptions.claim(40)]
    assert len(ids) == len(set(ids)) == 40


async def test_the_pictures_that_items_name_are_listed_page_by_page(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.state.items.PICTURES_PER_PAGE", 7)
    hashes = [f"{number:064x}" for number in range(50)]
    await store.items.put_many([Item(f"i{picture}", "t", picture=picture) for picture in hashes])
    await store.items.put(Item("plain", "t"))
    pages = [page async for page in store.items.pictures()]
    assert sorted(picture for page in pages for picture in page) == hashes
    assert max(map(len, pages)) <= 7
