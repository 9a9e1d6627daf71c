import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax
from sklearn.metrics import log_loss

from model_store.evaluate.blend import SINGLE, BlendCases, blend_auc, fit_blend, weights_of
from model_store.evaluate.metrics import Floats
from model_store.item_models.item_models import ItemScores
from model_store.registry.manifest import Blend

CANDIDATES = 11


def fit(cases: BlendCases) -> Blend:
    return fit_blend({"only": cases})


def auc(blend: Blend, cases: BlendCases) -> float:
    return cases.auc(weights_of(blend))


def best_single(cases: BlendCases) -> float:
    return max(map(cases.auc, SINGLE))


def probabilities(blend: Blend, cases: BlendCases) -> Floats:
    return expit(blend.bias + cases.scores(weights_of(blend))[cases.present])


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
    near = rng.normal(size=(users, CANDIDATES, 2))
    odds += near @ np.array([true.item_weights, true.item_vectors])
    targets = np.argmax(odds + rng.gumbel(size=odds.shape), axis=1)
    logits += np.random.default_rng(5).normal(scale=shift, size=(users, 1))
    columns = (one.tolist() for one in (logits, collaborative, popularity, targets))
    *features, chosen = columns
    return BlendCases.of(*features, [[ItemScores(*pair) for pair in row] for row in near.tolist()], chosen)


def alike(mllm: list[float], cases: int) -> BlendCases:
    """Cases whose first candidate is the target and of which the model alone knows anything."""
    nothing = [[0.0] * len(mllm)] * cases
    near = [[ItemScores()] * len(mllm)] * cases
    return BlendCases.of([mllm] * cases, nothing, nothing, near, [0] * cases)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(2, 12),
    st.builds(
        Blend,
        mllm=st.floats(-2, 2),
        collaborative=st.floats(-2, 2),
        popular=st.floats(-1, 1),
        item_weights=st.floats(0, 2),
        item_vectors=st.floats(0, 2),
    ),
)
def test_the_blend_is_never_worse_than_its_best_part_on_the_cases_it_was_fitted_on(seed, users, true) -> None:
    data = made(seed, users, true)
    blend = fit(data)
    assert auc(blend, data) >= best_single(data) - 1e-9
    assert min(weights_of(blend)) >= 0


def test_the_weights_that_made_the_choices_are_found_again() -> None:
    true = Blend(mllm=0.8, collaborative=1.5, popular=0.4)
    blend = fit(made(1, 4000, true))
    assert blend.collaborative / blend.mllm == pytest.approx(true.collaborative / true.mllm, rel=0.1)
    assert blend.popular / blend.mllm == pytest.approx(true.popular / true.mllm, rel=0.1)


def test_the_blend_beats_every_part_when_each_knows_something() -> None:
    true = Blend(mllm=0.8, collaborative=1.5, popular=0.4)
    blend, unseen = fit(made(2, 800, true)), made(3, 800, true)
    assert auc(blend, unseen) > best_single(unseen) + 0.02


def test_the_general_level_of_a_user_does_not_mislead_the_weights() -> None:
    same, other = (fit(made(4, 1500, Blend(mllm=1.0), shift)) for shift in (0.0, 5.0))
    assert other.mllm > 0
    assert other.collaborative / other.mllm == pytest.approx(same.collaborative / same.mllm, abs=0.02)


def test_probabilities_are_calibrated() -> None:
    true = Blend(mllm=0.8, collaborative=0.5)
    blend, unseen = fit(made(6, 2000, true)), made(7, 2000, true)
    assert calibration_error(blend, unseen) < 0.02
    coin = Blend(bias=-math.log(CANDIDATES - 1), mllm=0)
    losses = [log_loss(unseen.labels, probabilities(each, unseen)) for each in (blend, coin)]
    assert losses[0] < losses[1]


def test_a_feature_that_is_perfect_keeps_the_weights_finite() -> None:
    cases = alike([10.0, -10.0, -10.0], 30)
    blend = fit(cases)
    assert (auc(blend, cases), blend.collaborative, blend.popular) == (1, 0, 0)
    assert 0 < blend.mllm < 10


def test_features_that_know_nothing_give_the_share_of_targets() -> None:
    blend = fit(alike([0.0] * 4, 20))
    assert (blend.mllm, blend.collaborative, blend.popular) == (0, 0, 0)
    assert 1 / (1 + math.exp(-blend.bias)) == pytest.approx(0.25, abs=0.01)


def test_the_optimisers_rounding_breaks_no_tie() -> None:
    """Some fits on such cases end at weights of 1e-16, which differ from one processor to another."""
    for seed in range(60):
        blend = fit(made(seed, 8, Blend(mllm=-1.5, collaborative=-1.5, popular=1)))
        weights = [blend.mllm, blend.collaborative, blend.popular]
        assert all(weight == 0 or weight > 1e-7 * max(weights) for weight in weights)


def sampled(seed: int, users: int, popular: bool) -> BlendCases:
    """Users whose choices follow taste and popularity, among negatives drawn by popularity or from all items."""
    rng = np.random.default_rng(seed)
    counts = np.round(np.exp(rng.normal(3, 1.5, size=400)))
    mllm, collaborative, counted = [], [], []
    for _ in range(users):
        taste = rng.normal(size=400)
        target = rng.choice(400, p=softmax(taste + np.log1p(counts)))
        drawn = rng.choice(400, size=CANDIDATES - 1, p=counts / counts.sum() if popular else None, replace=False)
        shown = [target, *drawn]
        mllm.append((taste[shown] + rng.normal(size=CANDIDATES)).tolist())
        collaborative.append(np.expm1(np.maximum(0, taste[shown] + rng.normal(size=CANDIDATES))).tolist())
        counted.append(counts[shown].tolist())
    near = [[ItemScores()] * CANDIDATES] * users
    return BlendCases.of(mllm, collaborative, counted, near, [0] * users)


def test_one_blend_is_as_good_as_its_best_part_whatever_the_kind_of_the_candidates() -> None:
    """On the first board popularity alone beats the model, on the second it knows nothing."""
    made = {"uniform": sampled(1, 500, popular=False), "popular": sampled(2, 500, popular=True)}
    unseen = {"uniform": sampled(3, 500, popular=False), "popular": sampled(4, 500, popular=True)}
    blend = fit_blend(made)
    found = blend_auc(blend, unseen)
    assert found["uniform"]["popular"] > found["uniform"]["mllm"] + 2
    assert found["popular"]["popular"] < 55
    for board in found.values():
        assert board["blend"] >= max(board["mllm"], board["collaborative"], board["popular"]) + 1
    alone = {kind: fit_blend({kind: board}) for kind, board in made.items()}
    assert auc(blend, unseen["uniform"]) > auc(alone["popular"], unseen["uniform"]) + 0.02
    for kind, board in unseen.items():
        assert auc(blend, board) > auc(alone[kind], board) - 0.02


def test_every_board_counts_the_same_whatever_its_size() -> None:
    few, many = sampled(1, 100, popular=False), sampled(2, 400, popular=True)
    twice = BlendCases(np.tile(many.features, (2, 1, 1)), np.tile(many.present, (2, 1)), np.tile(many.targets, 2))
    one, other = fit_blend({"a": few, "b": many}), fit_blend({"a": few, "b": twice})
    # The ridge and the standardisation differ.
    assert weights_of(other) == pytest.approx(weights_of(one), rel=0.1)


def test_nothing_to_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="without cases"):
        fit_blend({})


def test_a_single_case_gives_finite_weights() -> None:
    blend = fit(alike([1.0, 0.0], 1))
    assert np.isfinite([*weights_of(blend), blend.bias]).all()
    assert auc(blend, alike([1.0, 0.0], 1)) == 1


def test_padding_changes_nothing() -> None:
    cases, more = made(1, 200, Blend(mllm=0.8, collaborative=1.5)), (0, 30)
    padded = BlendCases(
        np.pad(cases.features, ((0, 0), more, (0, 0))), np.pad(cases.present, ((0, 0), more)), cases.targets
    )
    assert fit(padded).model_dump() == pytest.approx(fit(cases).model_dump(), rel=1e-3)
    assert auc(Blend(), padded) == auc(Blend(), cases)


def test_a_short_case_counts_no_padding() -> None:
    long, short = [2.0, 1.0, 0.0, -1.0], [-1.0, 1.0]
    nothing = [[0.0] * 4, [0.0] * 2]
    near = [[ItemScores()] * len(row) for row in nothing]
    cases = BlendCases.of([long, short], nothing, nothing, near, [0, 0])
    assert cases.labels.tolist() == [1, 0, 0, 0, 1, 0]
    assert auc(Blend(), cases) == 0.5
    assert cases.features[cases.present][:, 0].tolist() == long + short


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        (([[1.0]], [[1.0]], [[1.0, 2.0]], [[ItemScores()]], [0]), "longer"),
        (([[1.0]], [[1.0]], [[1.0]], [[ItemScores()]], [0, 0]), "1 cases can't be fitted with 2 targets"),
        (([], [], [], [], []), "0 cases"),
        (([[math.inf, 0.0]], [[0.0] * 2], [[0.0] * 2], [[ItemScores()] * 2], [0]), "finite"),
    ],
)
def test_columns_that_cannot_be_fitted_are_refused(columns, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        BlendCases.of(*columns)


def test_a_case_without_negatives_is_refused() -> None:
    with pytest.raises(ValueError, match="no negative"):
        fit(alike([1.0], 1))
