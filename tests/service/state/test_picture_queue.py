"""The queue of pictures to fetch: leases, retries, and what a newer write changes (I4, I7)."""

from dataclasses import replace
from typing import Any

import pytest

from service.state.records import Item, PictureClaim
from service.state.store import Store
from tests.service.state.conftest import Clock
from tests.stores import dead_letters

URL = "https://example.com/a.png"
OLD, NEW = "a" * 64, "b" * 64
PENDING = Item("i}{1 é", "A title", picture_url=URL)


async def claim_one(store: Store) -> PictureClaim:
    (claim,) = await store.pictures.claim(10)
    return claim


async def put(store: Store, item: Item = PENDING) -> Item:
    return (await store.items.put(item, keep="picture"))[0]


async def read(store: Store) -> Item:
    item = await store.items.get(PENDING.item_id)
    assert item is not None
    return item


async def test_a_picture_is_claimed_once_and_stored_with_the_item(store: Store) -> None:
    assert await put(store) == replace(PENDING, revision=1)
    assert await store.pictures.count() == 1
    claim = await claim_one(store)
    assert (claim.key, claim.url, claim.attempts) == (PENDING.item_id, URL, 0)
    assert await store.pictures.claim(10) == []
    assert await store.pictures.commit(claim, NEW, "blank: all one colour")
    assert await read(store) == replace(
        PENDING, revision=2, picture=NEW, picture_url=None, picture_error="blank: all one colour"
    )
    assert not await store.pictures.commit(claim, OLD)
    assert await store.pictures.count() == 0


async def test_a_description_waits_for_its_picture(store: Store) -> None:
    await store.items.put(replace(PENDING, picture=OLD, picture_url=None))
    (describer,) = await store.descriptions.claim(10)
    await put(store)
    assert not await store.descriptions.commit(describer, "of the old picture", "m")
    assert (await read(store)).picture == OLD
    await put(store, replace(PENDING, title="Another"))
    assert await store.descriptions.claim(10) == []
    assert await store.pictures.commit(await claim_one(store), NEW)
    (describer,) = await store.descriptions.claim(10)
    assert (describer.item.picture, describer.item.title) == (NEW, "Another")


async def test_the_same_picture_again_costs_no_revision_and_no_description(store: Store) -> None:
    await store.items.put(replace(PENDING, picture=OLD, picture_url=None))
    (describer,) = await store.descriptions.claim(10)
    assert await store.descriptions.commit(describer, "text", "m")
    await put(store)
    assert (await read(store)).summary == "text"
    assert await store.pictures.commit(await claim_one(store), OLD)
    item = await read(store)
    assert (item.revision, item.summary) == (1, "text")
    assert await store.descriptions.claim(10) == []


async def test_a_refused_picture_leaves_the_one_before_which_is_described(store: Store) -> None:
    await store.items.put(replace(PENDING, picture=OLD, picture_url=None))
    await put(store)
    assert await store.pictures.refuse(await claim_one(store), "format: not a picture")
    item = await read(store)
    assert (item.picture, item.picture_error, item.picture_url) == (OLD, "format: not a picture", None)
    (describer,) = await store.descriptions.claim(10)
    assert describer.item.picture == OLD
    assert await store.dead_letters.count() == 0


@pytest.mark.parametrize(
    ("item", "keep"),
    [
        (replace(PENDING, picture=NEW, picture_url=None), "nothing"),
        (replace(PENDING, picture_url=None), "nothing"),
        (replace(PENDING, picture_url=None, picture_error="base64: not base64"), "picture"),
        (replace(PENDING, picture_url="https://example.com/b.png"), "picture"),
    ],
)
async def test_the_last_write_about_the_picture_counts(store: Store, item: Item, keep: Any) -> None:
    await put(store)
    claim = await claim_one(store)
    stored, _ = await store.items.put(item, keep=keep)
    assert not await store.pictures.commit(claim, OLD)
    assert not await store.pictures.fail(claim, 1)
    assert await store.pictures.dead_letter(claim, "picture_timeout", "timeout: late") == "lost"
    assert await store.pictures.extend([claim]) == [False]
    assert await read(store) == stored
    assert [claim.url for claim in await store.pictures.claim(10)] == ([item.picture_url] if item.picture_url else [])


async def test_a_write_without_picture_fields_does_not_stop_the_fetch(store: Store) -> None:
    await put(store)
    claim = await claim_one(store)
    changed, _ = await store.items.put(replace(PENDING, title="Another", picture_url=None), keep="both")
    assert changed.picture_url == URL
    # Nor does the same URL again.
    await put(store, replace(PENDING, title="Another"))
    assert await store.pictures.extend([claim]) == [True]
    assert await store.pictures.commit(claim, NEW)
    item = await read(store)
    assert (item.title, item.picture) == ("Another", NEW)


async def test_a_deleted_item_is_not_restored(store: Store, clock: Clock) -> None:
    await put(store)
    claim = await claim_one(store)
    assert await store.items.delete(PENDING.item_id)
    assert await store.pictures.count() == 0
    assert not await store.pictures.commit(claim, NEW)
    assert await store.items.get(PENDING.item_id) is None
    clock.pass_s(3600)
    assert await store.pictures.claim(10) == []
    assert await store.pictures.count() == 0


async def test_a_fetcher_whose_lease_ran_out_cannot_commit(store: Store, clock: Clock) -> None:
    await put(store)
    late = await claim_one(store)
    clock.pass_s(59)
    assert await store.pictures.extend([late]) == [True]
    assert await store.pictures.claim(10) == []
    clock.pass_s(60)
    assert not await store.pictures.commit(late, OLD)
    claim = await claim_one(store)
    assert not await store.pictures.commit(late, OLD)
    assert await store.pictures.commit(claim, NEW)


async def test_failures_are_counted_delayed_and_end_in_a_dead_letter_that_can_be_retried(
    store: Store, clock: Clock
) -> None:
    await put(store)
    assert await store.pictures.fail(await claim_one(store), 2)
    assert await store.pictures.claim(10) == []
    clock.pass_s(2)
    claim = await claim_one(store)
    assert claim.attempts == 1
    assert await store.pictures.release(claim)
    assert (
        await store.pictures.dead_letter(await claim_one(store), "picture_timeout", "timeout: not fetched")
        == "dead_lettered"
    )
    assert (await read(store)).picture_error == "timeout: not fetched"
    (letter,) = await dead_letters(store)
    assert (letter.kind, letter.key, letter.reason) == ("fetch", PENDING.item_id, "picture_timeout")
    assert await store.dead_letters.retry(letter.id) == "retried"
    item = await read(store)
    assert (item.picture_url, item.picture_error) == (URL, None)
    claim = await claim_one(store)
    assert (claim.url, claim.attempts) == (URL, 0)
    assert await store.pictures.commit(claim, NEW)


@pytest.mark.parametrize("change", [{"picture": NEW}, {"picture": None}, {"picture_url": "https://example.com/b.png"}])
async def test_a_dead_letter_replaces_no_picture_that_was_put_since(store: Store, change: dict[str, Any]) -> None:
    await put(store)
    await store.pictures.dead_letter(await claim_one(store), "picture_timeout", "timeout: not fetched")
    keep: Any = "picture" if "picture_url" in change else "nothing"
    stored, _ = await store.items.put(replace(PENDING, **{"picture_url": None, **change}), keep=keep)
    (letter,) = await dead_letters(store)
    assert await store.dead_letters.retry(letter.id) == "retried"
    assert await read(store) == stored
    assert await store.dead_letters.count() == 0


async def test_an_old_dead_letter_of_a_description_waits_for_the_picture(store: Store) -> None:
    await store.items.put(replace(PENDING, picture=OLD, picture_url=None))
    (describer,) = await store.descriptions.claim(10)
    await store.descriptions.dead_letter(describer, "answer_empty")
    await put(store)
    (letter,) = await dead_letters(store)
    assert letter.kind == "describe"
    assert await store.dead_letters.retry(letter.id) == "retried"
    assert await store.descriptions.claim(10) == []


async def test_many_fetchers_at_once_get_every_picture_once(store: Store) -> None:
    items = [replace(PENDING, item_id=f"item-{number}") for number in range(40)]
    await store.items.put_many(items, keep="picture")
    claimed = [claim.key for _ in range(8) for claim in await store.pictures.claim(10)]
    assert sorted(claimed) == sorted(item.item_id for item in items)
    assert (await store.waiting()).pending_pictures == 40
