import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import log_loss

from model_store.evaluate.blend import BlendCases, fit_blend
from model_store.evaluate.metrics import Floats
from model_store.registry.manifest import Blend

CANDIDATES = 11


def auc(blend: Blend, cases: BlendCases) -> float:
    return cases.auc((blend.mllm, blend.collaborative, blend.popular))


def best_single(cases: BlendCases) -> float:
    return max(map(cases.auc, np.eye(3)))


def probabilities(blend: Blend, cases: BlendCases) -> Floats:
    weights = np.array([blend.mllm, blend.collaborative, blend.popular])
    return expit(blend.bias + cases.features[cases.present] @ weights)


def calibration_error(blend: Blend, cases: BlendCases) -> float:
    """The expected calibration error over ten bins of equal size (Naeini et al., AAAI 2015), 0..1."""
    promised = probabilities(blend, cases)
    gaps = (promised - cases.labels)[np.argsort(promised, kind="stable")]
    return sum(abs(float(part.sum())) for part in np.array_split(gaps, 10)) / len(gaps)


def made(seed: int, users: int, true: Blend, shift: float = 0.0) -> BlendCases:
    """Users whose choices follow `true`: the target is drawn with odds from the features.

    `shift` spreads the users' general levels of the first feature.
    """
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(users, CANDIDATES)) + rng.normal(size=(users, 1))
    collaborative = rng.exponential(size=(users, CANDIDATES)) * rng.exponential(size=(users, 1))
    popularity = rng.integers(0, 500, size=(users, CANDIDATES))
    odds = true.mllm * logits + true.collaborative * np.log1p(collaborative) + true.popular * np.log1p(popularity)
    targets = np.argmax(odds + rng.gumbel(size=odds.shape), axis=1)
    logits += np.random.default_rng(5).normal(scale=shift, size=(users, 1))
    return BlendCases.of(logits.tolist(), collaborative.tolist(), popularity.tolist(), targets.tolist())


def alike(mllm: list[float], cases: int) -> BlendCases:
    """Cases whose first candidate is the target and of which the model alone knows anything."""
    nothing = [[0.0] * len(mllm)] * cases
    return BlendCases.of([mllm] * cases, nothing, nothing, [0] * cases)


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
    blend = fit_blend(data)
    assert auc(blend, data) >= best_single(data) - 1e-9
    assert min(blend.mllm, blend.collaborative, blend.popular) >= 0


def test_the_weights_that_made_the_choices_are_found_again() -> None:
    true = Blend(mllm=0.8, collaborative=1.5, popular=0.4)
    blend = fit_blend(made(1, 4000, true))
    assert blend.collaborative / blend.mllm == pytest.approx(true.collaborative / true.mllm, rel=0.1)
    assert blend.popular / blend.mllm == pytest.approx(true.popular / true.mllm, rel=0.1)


def test_the_blend_beats_every_part_when_each_knows_something() -> None:
    true = Blend(mllm=0.8, collaborative=1.5, popular=0.4)
    blend, unseen = fit_blend(made(2, 800, true)), made(3, 800, true)
    assert auc(blend, unseen) > best_single(unseen) + 0.02


def test_the_general_level_of_a_user_does_not_mislead_the_weights() -> None:
    same, other = (fit_blend(made(4, 1500, Blend(mllm=1.0), shift)) for shift in (0.0, 5.0))
    assert other.mllm > 0
    assert other.collaborative / other.mllm == pytest.approx(same.collaborative / same.mllm, abs=0.02)


def test_probabilities_are_calibrated() -> None:
    true = Blend(mllm=0.8, collaborative=0.5)
    blend, unseen = fit_blend(made(6, 2000, true)), made(7, 2000, true)
    assert calibration_error(blend, unseen) < 0.02
    coin = Blend(bias=-math.log(CANDIDATES - 1), mllm=0)
    losses = [log_loss(unseen.labels, probabilities(each, unseen)) for each in (blend, coin)]
    assert losses[0] < losses[1]


def test_a_feature_that_is_perfect_keeps_the_weights_finite() -> None:
    cases = alike([10.0, -10.0, -10.0], 30)
    blend = fit_blend(cases)
    assert (auc(blend, cases), blend.collaborative, blend.popular) == (1, 0, 0)
    assert 0 < blend.mllm < 10


def test_features_that_know_nothing_give_the_share_of_targets() -> None:
    blend = fit_blend(alike([0.0] * 4, 20))
    assert (blend.mllm, blend.collaborative, blend.popular) == (0, 0, 0)
    assert 1 / (1 + math.exp(-blend.bias)) == pytest.approx(0.25, abs=0.01)


def test_the_optimisers_rounding_breaks_no_tie() -> None:
    """Some fits on such cases end at weights of 1e-16, which differ from one processor to another."""
    for seed in range(300):
        blend = fit_blend(made(seed, 8, Blend(mllm=-1.5, collaborative=-1.5, popular=1)))
        weights = [blend.mllm, blend.collaborative, blend.popular]
        assert all(weight == 0 or weight > 1e-7 * max(weights) for weight in weights)


def test_padding_changes_nothing() -> None:
    cases, more = made(1, 200, Blend(mllm=0.8, collaborative=1.5)), (0, 30)
    padded = BlendCases(
        np.pad(cases.features, ((0, 0), more, (0, 0))), np.pad(cases.present, ((0, 0), more)), cases.targets
    )
    assert fit_blend(padded).model_dump() == pytest.approx(fit_blend(cases).model_dump(), rel=1e-3)
    assert auc(Blend(), padded) == auc(Blend(), cases)


def test_a_short_case_counts_no_padding() -> None:
    long, short = [2.0, 1.0, 0.0, -1.0], [-1.0, 1.0]
    cases = BlendCases.of([long, short], [[0.0] * 4, [0.0] * 2], [[0.0] * 4, [0.0] * 2], [0, 0])
    assert cases.labels.tolist() == [1, 0, 0, 0, 1, 0]
    assert auc(Blend(), cases) == 0.5
    assert cases.features[cases.present][:, 0].tolist() == long + short


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        (([[1.0]], [[1.0]], [[1.0, 2.0]], [0]), "longer"),
        (([[1.0]], [[1.0]], [[1.0]], [0, 0]), "1 cases can't be fitted with 2 targets"),
        (([], [], [], []), "0 cases"),
        (([[math.inf, 0.0]], [[0.0] * 2], [[0.0] * 2], [0]), "finite"),
    ],
)
def test_columns_that_cannot_be_fitted_are_refused(columns, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        BlendCases.of(*columns)


def test_a_case_without_negatives_is_refused() -> None:
    with pytest.raises(ValueError, match="no negative"):
        fit_blend(alike([1.0], 1))
