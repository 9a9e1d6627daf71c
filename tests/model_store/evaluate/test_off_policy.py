"""Off-policy estimates against a bandit whose true values are computed exactly."""

import numpy as np
import numpy.typing as npt
import pytest

from model_store.evaluate.off_policy import (
    doubly_robust,
    effective_sample_size,
    ips,
    list_weights,
    predicted_rewards,
    snips,
    weights,
    with_interval,
)

Floats = npt.NDArray[np.float64]
LOGGING, TARGET = np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.2, 0.7])
MEANS = np.array([[0.2, 0.5, 0.7], [0.6, 0.1, 0.3]])
"""Mean reward by context and action; the contexts are equally frequent."""
TRUE = float(np.mean(MEANS @ TARGET))
ROWS = 40_000


class Log:
    def __init__(self, seed: int = 0, rows: int = ROWS) -> None:
        rng = np.random.default_rng(seed)
        self.context = rng.integers(2, size=rows)
        self.action = rng.choice(3, p=LOGGING, size=rows)
        self.reward = (rng.random(rows) < MEANS[self.context, self.action]).astype(float)
        self.weight = weights(LOGGING[self.action], TARGET[self.action])
        self.users = np.arange(rows) // 4


@pytest.fixture(scope="module")
def log() -> Log:
    return Log()


def test_the_naive_mean_is_wrong_and_the_estimates_are_right(log: Log) -> None:
    error = 4 * np.std(log.weight * log.reward) / np.sqrt(ROWS)
    assert abs(np.mean(log.reward) - TRUE) > 2 * error, "otherwise the test shows nothing"
    assert ips(log.weight, log.reward) == pytest.approx(TRUE, abs=error)
    assert snips(log.weight, log.reward) == pytest.approx(TRUE, abs=error)


@pytest.mark.parametrize("model_error", [0.0, 0.3])
def test_doubly_robust_is_right_with_a_wrong_reward_model(log: Log, model_error: float) -> None:
    model = MEANS + model_error
    predicted, expected = model[log.context, log.action], model[log.context] @ TARGET
    assert doubly_robust(log.weight, log.reward, predicted, expected) == pytest.approx(TRUE, abs=0.02)


def test_doubly_robust_is_right_with_wrong_propensities_and_a_right_model(log: Log) -> None:
    predicted, expected = MEANS[log.context, log.action], MEANS[log.context] @ TARGET
    wrong = weights(np.full(ROWS, 1 / 3), TARGET[log.action])
    assert ips(wrong, log.reward) != pytest.approx(TRUE, abs=0.05)
    assert doubly_robust(wrong, log.reward, predicted, expected) == pytest.approx(TRUE, abs=0.02)


def test_a_model_of_the_rewards_narrows_the_interval(log: Log) -> None:
    plain = with_interval(ips, log.weight, log.reward, users=log.users, resamples=200)
    predicted, expected = MEANS[log.context, log.action], MEANS[log.context] @ TARGET
    robust = with_interval(doubly_robust, log.weight, log.reward, predicted, expected, users=log.users, resamples=200)
    assert robust.high - robust.low < plain.high - plain.low


def test_fitted_rewards_narrow_it_as_well(log: Log) -> None:
    """Features that tell context and action apart let least squares find the means."""
    table = np.eye(6).reshape(2, 3, 6)[log.context]
    logged = table[np.arange(ROWS), log.action]
    predicted, expected = predicted_rewards(logged, table, np.tile(TARGET, (ROWS, 1)), log.reward, log.users)
    assert predicted == pytest.approx(MEANS[log.context, log.action], abs=0.05)
    plain = with_interval(ips, log.weight, log.reward, users=log.users, resamples=200)
    robust = with_interval(doubly_robust, log.weight, log.reward, predicted, expected, users=log.users, resamples=200)
    assert robust.low < TRUE < robust.high
    assert robust.high - robust.low < plain.high - plain.low


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    held = 0
    for seed in range(100):
        log = Log(seed, 400)
        estimate = with_interval(snips, log.weight, log.reward, users=log.users, resamples=200, seed=seed)
        held += estimate.low <= TRUE <= estimate.high
    assert 86 <= held <= 100


def test_rows_of_one_user_are_resampled_together() -> None:
    rng = np.random.default_rng(0)
    liked = np.repeat(rng.random(50), 20)
    reward = (rng.random(1000) < np.round(liked)).astype(float)
    by_user = with_interval(snips, np.ones(1000), reward, users=np.arange(1000) // 20)
    by_row = with_interval(snips, np.ones(1000), reward, users=np.arange(1000))
    assert by_user.high - by_user.low > 2 * (by_row.high - by_row.low)


def test_the_effective_sample_size_of_known_weights() -> None:
    assert effective_sample_size(np.ones(50)) == 50
    assert effective_sample_size(np.array([1.0, 0.0, 0.0, 0.0])) == 1
    assert effective_sample_size(np.array([3.0, 1.0])) == pytest.approx(1.6)
    assert effective_sample_size(np.zeros(3)) == 0


def test_few_effective_rows_are_weak() -> None:
    few = with_interval(snips, np.array([50.0, *np.full(500, 0.01)]), np.ones(501), users=np.arange(501), resamples=10)
    assert few.is_weak
    assert not with_interval(snips, np.ones(501), np.ones(501), users=np.arange(501), resamples=10).is_weak


def test_the_same_policy_has_the_mean_reward(log: Log) -> None:
    same = weights(LOGGING[log.action], LOGGING[log.action])
    assert ips(same, log.reward) == snips(same, log.reward) == pytest.approx(float(np.mean(log.reward)))


def test_weights_of_places_are_products() -> None:
    logged, target = np.array([[0.5, 0.25]]), np.array([[0.25, 0.5]])
    assert list_weights(logged, target).tolist() == [[0.5, 1.0]]


@pytest.mark.parametrize(("logged", "target"), [(0.0, 0.5), (1.5, 0.5), (0.5, -0.1), (0.5, float("nan"))])
def test_impossible_probabilities_are_refused(logged: float, target: float) -> None:
    with pytest.raises(ValueError, match="probability"):
        weights(np.array([logged]), np.array([target]))


def test_an_empty_log_has_no_value() -> None:
    nothing: Floats = np.zeros(0)
    estimate = with_interval(snips, nothing, nothing, users=[])
    assert (estimate.rows, estimate.effective) == (0, 0)
    assert np.isnan(estimate.value)
