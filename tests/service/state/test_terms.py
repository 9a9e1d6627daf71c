"""Items are listed by genre and tag for as long as they have them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.state.keys import Field, term_name, term_names
from service.state.records import Item
from service.state.store import Store
from tests.redis_servers import admin_of, all_keys

TEA = Item("tea", "Tea", genres=("drink", "drink"), tags=("green", "drink", "ü" * 200))


async def listed(store: Store, field: Field, term: str) -> set[str]:
    wave = store.wave()
    answers = [wave.add(store.items.listing(key, "", 10)) for key in store.items.term_indexes(field, term)]
    await wave.send()
    return {item_id for answer in answers for item_id in answer.value()}


async def test_an_item_is_listed_under_each_of_its_terms(store: Store) -> None:
    await store.items.put_many([TEA, Item("pot", "Pot", tags=("green",))])
    assert await listed(store, "genres", "drink") == {"tea"}
    assert await listed(store, "tags", "drink") == {"tea"}
    assert await listed(store, "tags", "green") == {"tea", "pot"}
    assert await listed(store, "tags", "ü" * 200) == {"tea"}
    assert await listed(store, "genres", "green") == set(), "a genre is no tag"


async def test_a_term_that_an_item_loses_no_longer_lists_it(store: Store) -> None:
    await store.items.put(TEA)
    await store.items.put(replace(TEA, genres=("hot",), tags=("green",)))
    assert await listed(store, "genres", "drink") == set()
    assert await listed(store, "genres", "hot") == {"tea"}
    assert await listed(store, "tags", "green") == {"tea"}


async def test_nothing_is_left_of_the_lists_of_deleted_items(store: Store, redis_url: str) -> None:
    await store.items.put(TEA)
    await store.items.put(replace(TEA, genres=()))
    await store.items.delete("tea")
    await store.items.put(replace(TEA, item_id="plain", genres=(), tags=()))
    with admin_of(redis_url, decode_responses=True) as admin:
        assert [key for key in all_keys(admin) if ":t:" in key] == []


async def test_an_item_that_is_put_again_unchanged_is_listed_where_it_was_not(store: Store, redis_url: str) -> None:
    """As after an upgrade from a version without these lists."""
    await store.items.put(TEA)
    with admin_of(redis_url, decode_responses=True) as admin:
        admin.hdel(*[key for key in all_keys(admin) if key.endswith(":m:tea")], "tm")
        for key in all_keys(admin):
            if ":t:" in key:
                admin.delete(key)
    (again, _) = await store.items.put(TEA)
    assert again.revision == 1
    assert await listed(store, "tags", "green") == {"tea"}


@given(st.text(max_size=50), st.sampled_from(["genres", "tags"]))
def test_a_term_has_a_short_plain_name(term: str, field: Field) -> None:
    name = term_name(field, term)
    assert len(name) == 8
    assert name.replace("-", "").replace("_", "").isalnum()


@pytest.mark.parametrize(
    ("genres", "tags", "count"), [((), (), 0), (("a", "a"), (), 1), (("a",), ("a",), 2), (("a", "b"), ("c",), 3)]
)
def test_the_names_of_an_item_are_distinct(genres: tuple[str, ...], tags: tuple[str, ...], count: int) -> None:
    assert len(term_names(genres, tags)) == 8 * count
    assert term_names(genres, tags) == term_names(genres[::-1], tags[::-1])
