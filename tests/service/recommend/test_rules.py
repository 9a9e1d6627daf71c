"""Guarantees of boosts and caps."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.registry.manifest import Blend
from service.errors import InvalidFilter, InvalidRequest
from service.recommend.blend import Factors, Scored, blended
from service.recommend.candidates import Candidate
from service.recommend.rules import Rules, arrange, odds
from service.recommend.schemas import RecommendIn, Skipped
from service.state.records import Item


def rules(**ask: object) -> Rules:
    return Rules.of(RecommendIn.model_validate({"user_id": "u", **ask}))


def candidates(*items: Item) -> list[Candidate]:
    return [Candidate(item, 1) for item in items]


def ranked(items: list[Candidate]) -> list[Scored]:
    """In the given order."""
    return [Scored(one.item.item_id, 1 - place / 100, None, 0, 0, 0, 0) for place, one in enumerate(items)]


CUP = Item("cup", "Cup", genres=("kitchen",), attributes={"price": 3, "brand": "Acme"})
PAN = Item("pan", "Pan", genres=("kitchen", "steel"), attributes={"price": 30, "brand": "Acme"})
HAT = Item("hat", "Hat", genres=("wear",), attributes={"brand": ["Ajax", "Bolt"]})
BAG = Item("bag", "Bag")
ALL = candidates(CUP, PAN, HAT, BAG)


def test_the_factors_of_all_boosts_that_match_are_multiplied() -> None:
    boosts = [
        {"filter": "genres = 'kitchen'", "factor": 2},
        {"filter": "price < 10", "factor": 0.5},
        {"filter": "colour = 'red'", "factor": 3},
        {"filter": "price > 10", "factor": 1.5},
    ]
    found = odds(rules(boosts=boosts), ALL)
    assert found.factors == {"cup": Factors(1.0), "pan": Factors(3.0)}
    assert found.unused == [2]


@given(st.floats(0.01, 0.99), st.floats(0.1, 10), st.floats(0.1, 1))
def test_a_factor_multiplies_the_odds(score: float, boost: float, rotation: float) -> None:
    (one,) = blended(["i"], {"i": score}, {}, {}, {}, Blend(), {"i": Factors(boost, rotation)})
    assert one.score / (1 - one.score) == pytest.approx(score / (1 - score) * boost * rotation)
    assert (one.boost, one.rotation) == (boost, rotation)


def test_boosts_decide_the_order_also_where_all_scores_round_to_one() -> None:
    order = blended(["a", "b"], {}, {}, {}, {}, Blend(bias=60), {"b": Factors(2.0)})
    assert [one.item_id for one in order] == ["b", "a"]


def test_items_beyond_a_cap_are_passed_over() -> None:
    arranged = arrange(ranked(ALL), ALL, 3, rules(max_per={"genres": 1}))
    assert [one.item_id for one in arranged.items] == ["cup", "hat", "bag"]
    assert arranged.skipped == [Skipped("pan", "max_per")]


def test_only_items_that_would_have_been_shown_are_said_to_be_passed_over() -> None:
    arranged = arrange(ranked(ALL), ALL, 1, rules(max_per={"genres": 1}))
    assert ([one.item_id for one in arranged.items], arranged.skipped) == (["cup"], [])


def test_every_value_of_a_list_counts() -> None:
    ajax, bolt = (Item(name, name, attributes={"brand": name}) for name in ("Ajax", "Bolt"))
    items = candidates(HAT, ajax, bolt)
    arranged = arrange(ranked(items), items, 3, rules(max_per={"attributes.brand": 1, "colour": 1}))
    assert [one.item_id for one in arranged.items] == ["hat"]
    assert arranged.unused == ["colour"]


def test_true_and_one_are_different_values_and_objects_have_none() -> None:
    values = [True, 1, 1.0, "1", {"a": 1}, {"a": 1}]
    items = candidates(*(Item(str(place), "T", attributes={"x": value}) for place, value in enumerate(values)))
    arranged = arrange(ranked(items), items, 9, rules(max_per={"x": 1}))
    assert [one.item_id for one in arranged.items] == ["0", "1", "3", "4", "5"]


values = st.lists(st.sampled_from("abc"), max_size=3)


@given(st.lists(st.tuples(values, values), max_size=12), st.integers(1, 3), st.integers(1, 3), st.integers(1, 12))
def test_caps_hold_and_nothing_is_passed_over_without_need(
    shapes: list[tuple[list[str], list[str]]], genres: int, brands: int, k: int
) -> None:
    items = candidates(
        *(
            Item(str(place), "T", genres=tuple(one), attributes={"brand": two})
            for place, (one, two) in enumerate(shapes)
        )
    )
    arranged = arrange(ranked(items), items, k, rules(max_per={"genres": genres, "brand": brands}))
    by_id = {one.item.item_id: one.item for one in items}
    counts: Counter[tuple[str, str]] = Counter()
    places = [int(one.item_id) for one in arranged.items]
    assert places == sorted(places)
    assert len(places) <= k
    passed_over = {int(skipped.item_id) for skipped in arranged.skipped}
    for place, item in enumerate(by_id.values()):
        if place > max([*places, -1]) and len(places) == k:
            break
        keys = {*(("genres", one) for one in item.genres), *(("brand", one) for one in item.attributes["brand"])}  # type: ignore[index]
        full = any(counts[key] >= {"genres": genres, "brand": brands}[key[0]] for key in keys)
        assert full == (place in passed_over)
        assert full != (place in places)
        counts.update(() if full else keys)


def test_without_rules_the_order_is_kept() -> None:
    scored = ranked(ALL)
    assert arrange(scored, ALL, 2, rules()).items == scored[:2]
    assert odds(rules(), ALL).factors == {}


@pytest.mark.parametrize("name", ["", "title", "a b", "a = 1"])
def test_a_cap_of_no_field_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="such as attributes") as caught:
        rules(max_per={name: 1})
    assert caught.value.field == "max_per"


def test_a_wrong_expression_of_a_boost_is_named() -> None:
    with pytest.raises(InvalidFilter) as caught:
        rules(boosts=[{"filter": "a = 1", "factor": 2}, {"filter": "a", "factor": 2}])
    assert caught.value.field == "boosts.1.filter"


def test_a_factor_of_ten_boosts_is_finite() -> None:
    found = odds(rules(boosts=[{"filter": "price exists", "factor": 0.1}] * 10), ALL)
    assert math.isfinite(math.log(found.factors["cup"].boost))
