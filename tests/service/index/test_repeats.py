"""Of items with nearly the same vector, the first is none that repeats another."""

import numpy as np
import pytest

from service.index.repeats import repeats

ROWS = np.array([[1, 0], [0.96, 0.28], [0, 1], [0, 0], [0, 0], [0.6, 0.8]], dtype=np.float32)
"""The cosine of the first two is 0.96, that of the last to the second and to the third 0.8."""
KNOWN = np.array([True, True, True, False, False, True])


@pytest.mark.parametrize(
    ("cosine", "also", "expected"),
    [
        (0.97, [], []),
        (0.95, [], [1]),
        (0.79, [], [1, 5]),
        (0.81, [], [1]),
        (0.81, [0], [0]),
        (0.79, [0, 3], [0, 3, 5]),
    ],
)
def test_an_item_repeats_only_one_that_is_kept(cosine: float, also: list[int], expected: list[int]) -> None:
    given = [place in also for place in range(len(ROWS))] if also else []
    assert np.flatnonzero(repeats(ROWS, KNOWN, cosine, given)).tolist() == expected


def test_of_no_items_none_repeats() -> None:
    assert repeats(ROWS[:0], KNOWN[:0], 0.9) == []
