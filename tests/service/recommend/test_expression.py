"""Guarantees of filter expressions: what they mean, and that every error has a position and a remedy."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidFilter
from service.recommend.conditions import required
from service.recommend.expression import parse, parse_field
from service.recommend.limits import MOST_CHARS, MOST_CONDITIONS, MOST_LEVELS, MOST_VALUES
from service.state.records import Item

ITEM = Item(
    "i",
    "Teapot",
    genres=("kitchen", "gift"),
    tags=("tea",),
    attributes={
        "price": 39.5,
        "list price": 50,
        "in_stock": True,
        "brand": "Acme",
        "sizes": [1, 2],
        "size": {"width": 9},
        "released": "2024-05-01",
        "colour": None,
        "genres": "own",
        "empty": [],
    },
)
BARE = Item("bare", "Bare")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("price = 39.5", True),
        ("price != 39.5", False),
        ("price < 40", True),
        ("price<=39.5", True),
        ("price > 39.5", False),
        ("price >= 39.5", True),
        ("price > -1e3", True),
        ("in_stock = true", True),
        ("in_stock = 1", False),
        ("in_stock > 0", False),
        ("brand = 'Acme'", True),
        ('brand = "acme"', False),
        ("brand < 'B'", True),
        ("brand < 3", False),
        ('released >= "2024-01-01"', True),
        ("genres = 'gift'", True),
        ("genres != 'gift'", False),
        ("genres has 'toys'", False),
        ("genres not has 'toys'", True),
        ("genres in ('toys', 'gift')", True),
        ("tags not in ('tea')", False),
        ("sizes = 2", True),
        ("sizes > 1", True),
        ("sizes > 2", False),
        ("size.width = 9", True),
        ("size.height = 9", False),
        ("attributes.price = 39.5", True),
        ("attributes.genres = 'own'", True),
        ("`list price` = 50", True),
        ("colour exists", False),
        ("colour = null", True),
        ("brand != null", True),
        ("brand not exists", False),
        ("empty exists", False),
        ("NOT brand = 'Acme' OR price < 40", True),
        ("not (brand = 'Acme' or price < 40)", False),
        ("brand = 'x' and price < 40 or in_stock = true", True),
        ("brand = 'x' and (price < 40 or in_stock = true)", False),
        (r"brand = 'it\'s'", False),
    ],
)
def test_an_expression_means_what_it_says(text: str, expected: bool) -> None:
    assert parse(text).matches(ITEM) is expected


@pytest.mark.parametrize("test", ["= 1", "!= 1", "< 1", "in (1)", "not in (1)", "has 1", "not has 1", "exists"])
def test_an_attribute_that_is_missing_matches_no_condition(test: str) -> None:
    assert not parse(f"weight {test}").matches(ITEM)
    assert not parse(f"weight {test}").matches(BARE)
    assert parse(f"not weight {test}").matches(BARE)


def test_genres_and_tags_are_never_missing() -> None:
    assert parse("genres != 'toys' and tags not in ('a')").matches(BARE)


@pytest.mark.parametrize(
    ("text", "position", "remedy"),
    [
        ("", 0, "leave it out"),
        ("  ", 0, "leave it out"),
        ("price == 2", 6, "write ="),
        ("price => 2", 6, "write >="),
        ("a = 1 && b = 2", 6, "write and"),
        ("name like 'x'", 5, "the operators are"),
        ("a not = 3", 6, "in, has or exists"),
        ("price", 5, "the operators are"),
        ("title = 'x'", 0, "unknown field 'title'"),
        ("a = 1 and item_id = 'x'", 10, "exclude_item_ids"),
        ("in = 3", 0, "backticks"),
        ("a = 1 and `` = 3", 10, "no name in the backticks"),
        ("= 3", 0, "expected a field"),
        ("brand = Acme", 8, 'in quotes: "Acme"'),
        ("a in 3", 5, "such as (1, 2)"),
        ("a in (1, 2", 5, "write ) at its end"),
        ("(a = 1", 0, "write ) at its end"),
        ("a = 1)", 5, "'and', 'or' or the end"),
        ("a = 'x", 4, "write ' at its end"),
        ("a < true", 4, "use = or !="),
        ("a in (null)", 6, "use exists"),
        ("a = 1e999", 4, "too large"),
        ("a = 1 " + "x" * MOST_CHARS, MOST_CHARS, "shorten it"),
        ("not " * (MOST_LEVELS + 1) + "a = 1", 4 * MOST_LEVELS, "simplify"),
        ("(" * (MOST_LEVELS + 1) + "a = 1" + ")" * (MOST_LEVELS + 1), MOST_LEVELS, "simplify"),
        ("a=1 or " * MOST_CONDITIONS + "a=1", 7 * MOST_CONDITIONS, "in (...)"),
        ("a in (" + "1," * MOST_VALUES + "1)", 6 + 2 * MOST_VALUES, "split"),
    ],
)
def test_an_error_has_a_position_and_a_remedy(text: str, position: int, remedy: str) -> None:
    with pytest.raises(InvalidFilter) as caught:
        parse(text, "boosts.0.filter")
    assert (caught.value.field, caught.value.extensions) == ("boosts.0.filter", {"position": position})
    assert remedy in caught.value.detail


@given(st.one_of(st.text(), st.text("ab =<>!()'\"`\\.,019-andorti&|\n")))
def test_any_text_is_an_expression_or_has_an_error_with_a_position(text: str) -> None:
    try:
        condition = parse(text)
    except InvalidFilter as error:
        position = error.extensions["position"]
    else:
        position = 0
        condition.matches(ITEM)
    assert 0 <= position <= len(text)


Meaning = Callable[[Item], bool]
VALUES = {"a": 1, "b": 2, "c": 3}


def _tests() -> st.SearchStrategy[tuple[str, Meaning]]:
    numbers = st.integers(0, 4)
    names = st.sampled_from("abc")
    less = st.builds(lambda one, n: (f"{one} < {n}", lambda item: item.attributes[one] < n), names, numbers)
    same = st.builds(lambda one, n: (f"{one}={n}", lambda item: item.attributes[one] == n), names, numbers)
    genre = st.builds(lambda one: (f"genres = '{one}'", lambda item: one in item.genres), names)
    return st.one_of(less, same, genre)


def _joined(parts: st.SearchStrategy[tuple[str, Meaning]]) -> st.SearchStrategy[tuple[str, Meaning]]:
    def both(one: Any, other: Any) -> tuple[str, Meaning]:
        return f"({one[0]}) and {other[0]}", lambda item: one[1](item) and other[1](item)

    def either(one: Any, other: Any) -> tuple[str, Meaning]:
        return f"(({one[0]}) or ({other[0]}))", lambda item: one[1](item) or other[1](item)

    def negated(one: Any) -> tuple[str, Meaning]:
        return f"not ({one[0]})", lambda item: not one[1](item)

    simple = _tests()
    return st.one_of(st.builds(both, parts, simple), st.builds(either, parts, parts), st.builds(negated, parts))


@given(st.recursive(_tests(), _joined, max_leaves=4), st.sets(st.sampled_from("abc")))
def test_expressions_agree_with_their_meaning_and_require_the_genres_that_they_say(
    said: tuple[str, Meaning], genres: set[str]
) -> None:
    item = Item("i", "Item", genres=tuple(genres), attributes=VALUES)
    condition = parse(said[0])
    assert condition.matches(item) == said[1](item)
    terms = required(condition, "genres")
    assert terms is None or not condition.matches(item) or terms & genres


@pytest.mark.parametrize(
    ("text", "genres"),
    [
        ("genres in ('a', 'b') and price < 3", {"a", "b"}),
        ("genres = 'a' and genres in ('b', 'c')", {"a"}),
        ("genres = 'a' or genres has 'b'", {"a", "b"}),
        ("genres = 'a' or price < 3", None),
        ("not genres = 'a'", None),
        ("genres != 'a'", None),
        ("tags = 'a'", None),
    ],
)
def test_required_genres_are_found(text: str, genres: set[str] | None) -> None:
    assert required(parse(text), "genres") == genres


def test_a_field_alone_can_be_named() -> None:
    assert parse_field("attributes.brand", "max_per") == parse_field("brand", "max_per")
    assert parse_field("genres", "max_per").terms == "genres"
    for text in ("", "a b", "title", "a = 1", "and"):
        with pytest.raises(InvalidFilter):
            parse_field(text, "max_per")
