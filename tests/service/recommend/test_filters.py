"""Guarantees of the filter."""

from typing import Any

import pytest

from service.recommend.candidates import Candidate
from service.recommend.expression import parse
from service.recommend.filters import ItemFilter, LeftOut, keep, passes
from service.recommend.schemas import Filters, Skipped
from service.state.records import Item

ITEM = Item(
    "i", "Teapot", genres=("kitchen", "gift"), tags=("tea",), attributes={"price": 39.5, "new": True, "in": [1, 2]}
)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, True),
        ({"genres": ["gift", "toys"]}, True),
        ({"genres": ["toys"]}, False),
        ({"genres": ["gift"], "tags": ["coffee"]}, False),
        ({"attributes": {"price": 39.5}}, True),
        ({"attributes": {"price": [10, 39.5]}}, True),
        ({"attributes": {"in": 2}}, True),
        ({"attributes": {"in": 3}}, False),
        ({"attributes": {"new": True}}, True),
        ({"attributes": {"new": 1}}, False),
        ({"attributes": {"colour": "red"}}, False),
    ],
)
def test_an_item_passes_when_every_filter_finds_something(filters: dict[str, Any], expected: bool) -> None:
    assert passes(ITEM, Filters.model_validate(filters)) is expected


def test_seen_and_filtered_candidates_are_reported() -> None:
    candidates = [Candidate(Item(name, name, genres=(name,)), 1) for name in ("a", "b", "c", "d")]
    kept, skipped = keep(candidates, LeftOut({"a"}, {"d"}), ItemFilter(Filters(genres=["b", "d"])))
    assert [candidate.item.item_id for candidate in kept] == ["b"]
    assert skipped == [Skipped("a", "seen"), Skipped("c", "filtered"), Skipped("d", "excluded")]


def test_an_item_must_pass_the_filters_and_the_expression() -> None:
    for filters, text, expected in (
        (["gift"], "price < 40", True),
        (["gift"], "price < 30", False),
        (["toys"], "price < 40", False),
    ):
        assert ItemFilter(Filters(genres=filters), parse(text)).passes(ITEM) is expected


def test_terms_to_look_up_are_those_of_the_filters_or_else_those_that_the_expression_requires() -> None:
    both = ItemFilter(Filters(genres=["gift"]), parse("genres = 'toys' and tags in ('tea', 'cup')"))
    assert (both.terms("genres"), both.terms("tags")) == (["gift"], ["cup", "tea"])
    assert ItemFilter(None, parse("price < 3")).terms("tags") == []
