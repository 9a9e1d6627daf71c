import random
from collections import Counter

import pytest

from model_store.data.negatives import Negatives

LIKES = {"a": 8, "b": 2, "c": 0, "d": 0}


@pytest.mark.parametrize(("popular", "expected"), [(0.0, (0.25, 0.25, 0.25, 0.25)), (1.0, (0.8, 0.2, 0, 0))])
def test_a_share_is_drawn_by_likes(popular: float, expected: tuple[float, ...]) -> None:
    draw, rng = Negatives(LIKES, popular), random.Random(0)
    found = Counter(draw((), 1, rng)[0] for _ in range(4000))
    assert [found[item] / 4000 for item in LIKES] == pytest.approx(expected, abs=0.03)


def test_they_are_distinct_and_unknown_and_fewer_than_wanted_if_there_are_no_more() -> None:
    draw = Negatives(LIKES, 0.5)
    assert sorted(draw({"a"}, 9, random.Random(0))) == ["b", "c", "d"]
    assert draw(LIKES, 2, random.Random(0)) == []


def test_without_a_like_all_are_drawn_evenly() -> None:
    assert sorted(Negatives(dict.fromkeys(LIKES, 0), 1.0)((), 4, random.Random(0))) == sorted(LIKES)
