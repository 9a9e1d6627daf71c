import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store.evaluate.blend import assess_blend, calibration_error, fit_blend
from model_store.registry.manifest import Blend

CANDIDATES = 11
SINGLE = [Blend(mllm=1), Blend(mllm=0, collaborative=1), Blend(mllm=0, popular=1)]


def made(seed: int, users: int, true: Blend, noise: float = 1.0) -> tuple[list, list, list, list, list]:
    """Users whose choices follow `true`: the liked candidate is drawn with odds from the evidence."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(users, CANDIDATES)) + rng.normal(size=(users, 1))
    collaborative = rng.exponential(size=(users, CANDIDATES)) * rng.exponential(size=(users, 1))
    popularity = rng.integers(0, 500, size=(users, CANDIDATES))
    odds = true.mllm * logits + true.collaborative * np.log1p(collaborative) + true.popular * np.log1p(popularity)
    chosen = np.argmax(odds / noise + rng.gumbel(size=odds.shape), axis=1)
    labels = np.eye(CANDIDATES)[chosen]
    groups = np.repeat(np.arange(users), CANDIDATES)
    return tuple(column.ravel().tolist() for column in (logits, collaborative, popularity, labels, groups))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(2, 12),
    st.builds(
        Blend,
        mllm=st.floats(-2, 2),
        collaborative=st.floats(-2, 2),
        popular=st.floats(-1, 1),
    ),
)
def test_the_blend_is_never_worse_than_its_best_part_on_the_cases_it_was_fitted_on(seed, users, true) -> None:
    data = made(seed, users, true)
    blend = fit_blend(*data)
    best = max(assess_blend(single, *data).auc for single in SINGLE)
    assert assess_blend(blend, *data).auc >= best - 1e-9
    assert min(blend.mllm, blend.collaborative, blend.popular) >= 0


def test_the_weights_that_made_the_choices_are_found_again() -> None:
    true = Blend(mllm=0.8, collaborative=1.5, popular=0.4)
    blend = fit_blend(*made(1, 4000, true))
    assert blend.collaborative / blend.mllm == pytest.approx(true.collaborative / true.mllm, rel=0.1)
    assert blend.popular / blend.mllm == pytest.approx(true.popular / true.mllm, rel=0.1)


def test_the_blend_beats_every_part_when_each_knows_something() -> None:
    true = Blend(mllm=0.8, collaborative=1.5, popular=0.4)
    blend, unseen = fit_blend(*made(2, 800, true)), made(3, 800, true)
    best = max(assess_blend(single, *unseen).auc for single in SINGLE)
    assert assess_blend(blend, *unseen).auc > best + 0.02


def test_the_general_level_of_a_user_does_not_mislead_the_weights() -> None:
    logits, collaborative, popularity, labels, groups = made(4, 1500, Blend(mllm=1.0))
    shift = np.random.default_rng(5).normal(scale=5, size=1500)
    shifted = [logit + shift[int(group)] for logit, group in zip(logits, groups, strict=True)]
    same = fit_blend(logits, collaborative, popularity, labels, groups)
    other = fit_blend(shifted, collaborative, popularity, labels, groups)
    assert other.mllm > 0
    assert other.collaborative / other.mllm == pytest.approx(same.collaborative / same.mllm, abs=0.02)


def test_probabilities_are_calibrated() -> None:
    true = Blend(mllm=0.8, collaborative=0.5)
    blend, unseen = fit_blend(*made(6, 2000, true)), made(7, 2000, true)
    report = assess_blend(blend, *unseen)
    assert report.calibration_error < 0.02
    coin = assess_blend(Blend(bias=-math.log(CANDIDATES - 1), mllm=0), *unseen)
    assert report.log_loss < coin.log_loss


def test_evidence_that_is_perfect_keeps_the_weights_finite() -> None:
    labels = [1.0, 0.0, 0.0] * 30
    groups = [n // 3 for n in range(90)]
    blend = fit_blend([20 * label - 10 for label in labels], [0.0] * 90, [0.0] * 90, labels, groups)
    report = assess_blend(blend, [20 * label - 10 for label in labels], [0.0] * 90, [0.0] * 90, labels, groups)
    assert (report.auc, blend.collaborative, blend.popular) == (1, 0, 0)
    assert 0 < blend.mllm < 10


def test_evidence_that_knows_nothing_gives_the_share_of_liked_candidates() -> None:
    labels = [1.0, 0.0, 0.0, 0.0] * 20
    blend = fit_blend([0.0] * 80, [0.0] * 80, [0.0] * 80, labels, [n // 4 for n in range(80)])
    assert (blend.mllm, blend.collaborative, blend.popular) == (0, 0, 0)
    assert 1 / (1 + math.exp(-blend.bias)) == pytest.approx(0.25, abs=0.01)


def test_groups_may_be_named_and_mixed() -> None:
    logits, collaborative, popularity, labels, groups = made(8, 50, Blend())
    order = np.random.default_rng(9).permutation(len(labels))
    columns = [[column[place] for place in order] for column in (logits, collaborative, popularity, labels)]
    mixed = fit_blend(*columns, [f"user {groups[place]}" for place in order])
    straight = fit_blend(logits, collaborative, popularity, labels, groups)
    assert mixed.mllm == pytest.approx(straight.mllm, abs=1e-6)


def test_calibration_error_is_the_distance_between_promise_and_outcome() -> None:
    assert calibration_error(np.full(100, 0.7), np.array(([1.0] * 7 + [0.0] * 3) * 10)) == pytest.approx(0)
    assert calibration_error(np.full(100, 0.9), np.array(([1.0] * 7 + [0.0] * 3) * 10)) == pytest.approx(0.2)
    assert calibration_error(np.zeros(10), np.ones(10)) == 1
    assert calibration_error(np.array([0.0] * 50 + [1.0] * 50), np.array([0.0] * 50 + [1.0] * 50)) == 0


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        (([1.0], [1.0], [1.0], [1.0, 0.0], ["a"]), "one entry in each column"),
        (([], [], [], [], []), "one entry in each column"),
        (([math.inf, 0.0], [0.0] * 2, [0.0] * 2, [1.0, 0.0], ["a", "a"]), "finite"),
        (([1.0, 0.0], [0.0] * 2, [0.0] * 2, [1.0, 0.0], ["a", "b"]), "no group has both"),
    ],
)
def test_columns_that_cannot_be_fitted_are_refused(columns, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        fit_blend(*columns)
