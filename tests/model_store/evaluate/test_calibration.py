import numpy as np
import pytest

from model_store.evaluate.calibration import BINS, calibration


def drawn(users: int, candidates: int = 21) -> tuple[list[list[float]], list[int]]:
    """Cases whose target is drawn with the probabilities that are given."""
    rng = np.random.default_rng(0)
    rows = rng.dirichlet(np.full(candidates, 0.5), size=users)
    return rows.tolist(), [int(rng.choice(candidates, p=row)) for row in rows]


def test_true_probabilities_have_nearly_no_calibration_error() -> None:
    found = calibration(*drawn(4000))
    assert found.ece.mean < 0.01
    assert found.base_rate == pytest.approx(1 / 21)
    for one in found.bins:
        assert one.observed == pytest.approx(one.predicted, abs=0.02)


def test_overconfident_probabilities_have_an_error_and_a_worse_brier_score() -> None:
    rows, targets = drawn(2000)
    sure = [[float(value == max(row)) for value in row] for row in rows]
    assert calibration(sure, targets).brier.mean > calibration(rows, targets).brier.mean
    assert calibration(sure, targets).ece.mean > calibration(rows, targets).ece.high


def test_the_base_rate_for_everyone_has_the_brier_score_of_the_base_rate() -> None:
    found = calibration([[0.25] * 4] * 10, [1] * 10)
    assert found.brier.mean == pytest.approx(found.brier_of_base_rate)
    assert found.ece.mean == pytest.approx(0)
    assert len(found.bins) == 1


def test_bins_have_equally_many_candidates_unless_probabilities_are_equal() -> None:
    found = calibration(*drawn(500))
    assert len(found.bins) == BINS
    assert max(one.candidates for one in found.bins) - min(one.candidates for one in found.bins) <= 2


def test_intervals_contain_the_value_and_shrink_with_users() -> None:
    few, many = (calibration(*drawn(users)).brier for users in (100, 3000))
    assert few.low <= few.mean <= few.high
    assert many.high - many.low < few.high - few.low


def test_what_is_no_probability_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.\.1"):
        calibration([[0.5, 1.5]], [0])
    with pytest.raises(ValueError, match="no probabilities"):
        calibration([], [])
