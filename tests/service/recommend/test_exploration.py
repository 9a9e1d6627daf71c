"""Orders are drawn with the probabilities that are logged."""

import math
import random
from collections import Counter
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.recommend.blend import Scored
from service.recommend.exploration import propensities, shuffled


def scored(*scores: float) -> list[Scored]:
    return [Scored(f"item-{number}", score, score, 0.0, 0.0, 0.0, 0.0) for number, score in enumerate(scores)]


def test_without_a_temperature_the_order_is_kept() -> None:
    items = scored(0.9, 0.5, 0.1)
    assert shuffled(items, 0.0, random.Random(0)) == (items, [1.0, 1.0, 1.0])


def test_an_order_that_is_not_by_score_is_explored_as_it_is() -> None:
    items = scored(0.2, 0.9, 0.5)
    assert shuffled(items, 1e-3, random.Random(0))[0] == items


def test_orders_come_as_often_as_their_propensities_say() -> None:
    items, rng, draws = scored(0.8, 0.5, 0.3), random.Random(0), 20_000
    counts: Counter[tuple[str, ...]] = Counter()
    said: dict[tuple[str, ...], float] = {}
    for _ in range(draws):
        order, chances = shuffled(items, 1.0, rng)
        key = tuple(item.item_id for item in order)
        counts[key] += 1
        said[key] = math.prod(chances)
    assert len(said) == 6
    assert sum(said.values()) == pytest.approx(1)
    for key, chance in said.items():
        assert abs(counts[key] / draws - chance) < 4 * math.sqrt(chance / draws)


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=5))
def test_the_orders_of_all_items_have_the_probability_one(utilities: list[float]) -> None:
    total = sum(math.prod(propensities(order)) for order in permutations(utilities))
    assert total == pytest.approx(1)
    assert propensities(utilities)[-1] == 1


def test_extreme_scores_have_finite_probabilities() -> None:
    order, chances = shuffled(scored(1.0, 0.0, 1.0), 0.01, random.Random(0))
    assert len(order) == 3
    assert all(0 <= chance <= 1 for chance in chances)


def test_a_draw_of_zero_orders_the_items_too() -> None:
    class Zero(random.Random):
        def random(self) -> float:
            return 0.0

    order, _ = shuffled(scored(0.9, 0.5), 1.0, Zero())
    assert [item.score for item in order] == [0.9, 0.5]
