import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.retrieval.interests import InterestOptions, Interests, combined, interests
from model_store.retrieval.vectors import Floats

X, Y, Z = np.eye(3, dtype=np.float32)


def near(axis: Floats, other: Floats, share: float = 0.1) -> Floats:
    mixed = axis + share * other
    return np.asarray(mixed / np.linalg.norm(mixed), dtype=np.float32)


def of(vectors: list[Floats], signs: list[int]) -> Interests:
    return interests(np.stack(vectors), signs)


events = st.lists(st.tuples(st.integers(0, 2**32 - 1), st.sampled_from([-1, 0, 1])), min_size=0, max_size=200)


@given(events)
def test_there_are_few_unit_vectors_with_weights_of_sum_one(drawn: list[tuple[int, int]]) -> None:
    rows = np.array([np.random.default_rng(seed).normal(size=8) for seed, _ in drawn], dtype=np.float32).reshape(-1, 8)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    signs = [sign for _, sign in drawn]
    found = interests(rows, signs)
    assert len(found.vectors) == len(found.weights) <= InterestOptions().most
    assert bool(len(found.weights)) == any(sign >= 0 for sign in signs)
    assert np.allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)
    assert np.all(np.diff(found.weights) <= 0)
    if len(found.weights):
        assert found.weights.sum() == pytest.approx(1, abs=1e-5)
    again = interests(rows, signs)
    assert np.array_equal(found.vectors, again.vectors)


def test_two_tastes_are_two_interests_and_one_taste_is_one() -> None:
    two = of([X, Y, near(X, Z), near(Y, Z)], [1, 1, 1, 1])
    assert len(two.weights) == 2
    assert sorted(int(np.argmax(vector)) for vector in two.vectors) == [0, 1]
    assert len(of([X, near(X, Z), near(X, Y)], [1, 1, 1]).weights) == 1


def test_later_items_count_more() -> None:
    found = of([X] * 3 + [Y] * 3, [1] * 6)
    assert np.argmax(found.vectors[0]) == 1


def test_what_was_liked_counts_more_than_what_was_viewed() -> None:
    assert np.argmax(of([X, Y], [1, 0]).vectors[0]) == 0


def test_disliked_items_push_away() -> None:
    liked, disliked = near(X, Y, 0.5), near(X, Z, 0.5)
    alone, pushed = of([liked], [1]), of([disliked, liked], [-1, 1])
    assert float(pushed.vectors[0] @ disliked) < float(alone.vectors[0] @ disliked)


def test_only_dislikes_give_no_interest() -> None:
    assert of([X], [-1]).vectors.shape == (0, 3)


def test_an_item_has_the_score_of_the_interest_that_it_fits() -> None:
    scores = combined(np.array([[0.9, 0.1, 0.0], [0.0, 0.1, 0.8]], np.float32), np.array([0.7, 0.3], np.float32))
    assert scores.shape == (3,)
    assert scores[0] > scores[2] > scores[1]
