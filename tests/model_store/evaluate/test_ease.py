import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store.evaluate.baselines import EASE, ITEM_KNN, POPULARITY, baseline_scores
from model_store.evaluate.compare import evaluate_scores
from model_store.evaluate.ease import Ease
from model_store.evaluate.likes import Likes
from model_store.evaluate.protocol import Protocol, make_cases
from tests.model_store.evaluate.worlds import world

ITEMS = [f"i{n}" for n in range(8)]
USERS = st.lists(st.lists(st.sampled_from(ITEMS), min_size=1, max_size=8), min_size=1, max_size=12)


@settings(max_examples=50, deadline=None)
@given(USERS, st.floats(0.5, 500))
def test_the_weights_solve_the_regression_of_each_item_on_the_others(users, ridge: float) -> None:
    """Equation 2 of the paper: the columns minimize |X - XB|² + ridge |B|² with a diagonal of 0."""
    likes = Likes(users)
    every = np.arange(len(likes.items))
    ease = Ease(likes, ridge=ridge)
    found = ease.weights(every, every)
    dense = likes.matrix.toarray()[:, : len(every)].astype(float)
    for item in every:
        others = np.delete(every, item)
        system = dense[:, others].T @ dense[:, others] + ridge * np.eye(len(others))
        expected = np.linalg.solve(system, dense[:, others].T @ dense[:, item])
        assert found[others, item] == pytest.approx(expected, abs=1e-4)
        assert found[item, item] == 0
        score = ease.score([likes.items[other] for other in others], [likes.items[item]])
        assert score == pytest.approx([expected.sum()], abs=1e-3)


def test_an_item_that_the_likers_of_a_recent_avoid_gets_a_negative_weight() -> None:
    """Two users like each of a and d, all like b: no two like a and d, which without a link would be expected."""
    ease = Ease(Likes([["a", "b"], ["a", "b"], ["d", "b"], ["d", "b"], ["b"]]), ridge=1)
    b, d = ease.score(["a"], ["b", "d"])
    assert d < 0 < b


def test_ties_and_what_is_unknown_are_ordered_by_popularity() -> None:
    ease = Ease(Likes([["a", "b"], ["b"], ["c"]]))
    a, b, unknown = ease.score([], ["a", "b", "unknown"])
    assert b > a > unknown == 0
    assert ease.score(["unknown"], ["a", "b"]) == [a, b]


def test_a_repeated_recent_counts_once() -> None:
    ease = Ease(Likes([["a", "b"], ["b", "c"]]))
    assert ease.score(["a", "a"], ["b", "c"]) == ease.score(["a"], ["b", "c"])


def test_a_bounded_model_keeps_the_most_liked_items() -> None:
    likes = Likes([["rare", "a", "b"], ["a", "b"], ["a", "b"], ["b"]])
    bounded, smaller = Ease(likes, ridge=1, max_items=2), Ease(Likes([["a", "b"]] * 3 + [["b"]]), ridge=1)
    assert bounded.score(["a"], ["b"]) == pytest.approx(smaller.score(["a"], ["b"]))
    assert bounded.score(["rare"], ["b"]) == bounded.score([], ["b"])
    assert bounded.score(["a"], ["rare"]) == bounded.score([], ["rare"])


def test_data_without_likes_scores_nothing() -> None:
    assert Ease(Likes([])).score(["a"], ["b", "c"]) == [0, 0]
    assert Ease(Likes([["a"]])).score(["a"], ["a", "b"]) == pytest.approx([0, 0], abs=1e-6)


def test_it_finds_the_tastes_that_popularity_cannot() -> None:
    dataset = world(users=600)
    cases = make_cases(dataset, Protocol())
    rows = evaluate_scores(cases, baseline_scores(dataset, cases)).rows
    assert rows[EASE].auc.low > rows[POPULARITY].auc.high
    assert rows[EASE].auc.mean >= rows[ITEM_KNN].auc.low
