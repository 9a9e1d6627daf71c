"""How alike items are, what is shown once, and what maximal marginal relevance chooses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.index.rows import Rows
from service.recommend.candidates import Candidate
from service.recommend.diversity import Likeness, diversified
from service.recommend.rules import arrange
from service.state.records import Item
from tests.service.conftest import Gateway
from tests.service.recommend.asking import fill, ids, recommend
from tests.service.recommend.retrieval.test_in_memory import index_of
from tests.service.recommend.test_rules import ranked, rules

INDEX = index_of(tea=[1, 0, 0, 0], pot=[1, 0.01, 0, 0], hat=[0, 1, 0, 0], cap=[0, 0.9, 0.4, 0])
ROWS = Rows.read(INDEX, ["tea", "pot", "hat", "cap", "new"])
ITEMS = [Item(name, name) for name in ("tea", "pot", "hat", "cap", "new")]


def all_of(_: int) -> bool:
    return True


def test_items_are_alike_by_their_vectors_and_without_by_their_genres() -> None:
    items = [Item("tea", "T", genres=("a", "b")), Item("hat", "H", genres=("a",)), Item("new", "N", genres=("a", "c"))]
    alike = Likeness(items, ROWS)
    np.testing.assert_allclose(alike.to(0), [1, 0, 1 / 3], atol=1e-6)
    np.testing.assert_allclose(alike.to(2), [1 / 3, 1 / 2, 1], atol=1e-6)
    np.testing.assert_allclose(Likeness(items).to(0), [1, 1 / 2, 1 / 3], atol=1e-6)
    assert (alike.by_vectors, Likeness(items).by_vectors) == (True, False)


def test_the_first_of_nearly_equal_items_is_kept() -> None:
    assert Likeness(ITEMS, ROWS).repeated(0.99) == [False, True, False, False, False]
    assert not any(Likeness(ITEMS, ROWS).repeated(1.0))
    twins = [
        Item("a", "T", picture="p"),
        Item("b", "T", picture="p"),
        Item("c", "T"),
        Item("d", "T"),
        Item("e", "U", picture="p"),
    ]
    assert Likeness(twins).repeated(0.99) == [False, True, False, False, False]


def test_diversity_prefers_what_is_least_like_the_items_above() -> None:
    likeness = Likeness(ITEMS, ROWS)
    scores = [0.9, 0.8, 0.7, 0.6, 0.1]
    assert diversified(scores, likeness, 0.0, 3, all_of) == [0, 1, 2]
    assert diversified(scores, likeness, 0.5, 3, all_of)[:2] == [0, 2]
    assert diversified(scores, likeness, 1.0, 3, all_of) == [0, 2, 4]
    assert diversified(scores, likeness, 0.5, 5, lambda place: place != 2)[:2] == [0, 3]
    assert diversified([], Likeness([]), 0.5, 5, all_of) == []


@given(st.lists(st.floats(0, 1), max_size=5), st.floats(0, 1), st.integers(1, 6))
def test_it_is_a_selection_without_repetition_that_begins_with_the_best(
    scores: list[float], diversity: float, k: int
) -> None:
    ordered = sorted(scores, reverse=True)
    found = diversified(ordered, Likeness(ITEMS[: len(ordered)], ROWS), diversity, k, all_of)
    assert len(found) == len(set(found)) == min(k, len(ordered))
    assert found[:1] == [0][: len(ordered)]


def test_retrieved_items_that_are_nearly_equal_are_shown_once_and_given_ones_are_kept() -> None:
    some = [Candidate(item, 1) for item in ITEMS]
    found = arrange(ranked(some), some, 3, rules(), ROWS, 0.99)
    assert [one.item_id for one in found.items] == ["tea", "hat", "cap"]
    assert [(one.item_id, one.reason) for one in found.skipped] == [("pot", "near_duplicate")]
    given = arrange(ranked(some), some, 3, rules(candidates=["tea"]), ROWS, 0.99)
    assert [one.item_id for one in given.items] == ["tea", "pot", "hat"]


def test_caps_hold_in_a_diverse_order() -> None:
    items = [
        Item(name, name, genres=("hot" if name in ("tea", "pot") else "warm",)) for name in ("tea", "hat", "cap", "pot")
    ]
    some = [Candidate(item, 1) for item in items]
    found = arrange(ranked(some), some, 4, rules(diversity=0.5, max_per={"genres": 1}, candidates=["tea"]), ROWS)
    assert [one.item_id for one in found.items] == ["tea", "hat"]


@pytest.mark.parametrize("diversity", [-0.1, 1.1, "much", True])
async def test_what_is_no_share_is_refused(gateway: Gateway, diversity: object) -> None:
    answer = await gateway.ask("POST", "/recommend", {"user_id": "u", "diversity": diversity})
    assert answer.status_code == 422
    assert "diversity" in answer.text


async def test_without_vectors_the_answer_says_that_only_genres_count(ranked: Gateway) -> None:
    await fill(ranked, "tea", "pan", "hat")
    answer = await recommend(ranked, diversity=0.5)
    assert sorted(ids(answer)) == ["hat", "pan", "tea"]
    assert [warned["code"] for warned in answer["warnings"]] == ["diversity_by_genres"]
