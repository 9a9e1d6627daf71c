"""The value of a policy from the log of another one: IPS, SNIPS and doubly robust estimates, in numpy.

A row is one decision: the logged action had the probability p under the policy that logged it, q under the one that is
evaluated, and the reward r. Its weight is q / p. All arrays have the shape (rows,).

Horvitz and Thompson 1952 (IPS); Swaminathan and Joachims, "The Self-Normalized Estimator for Counterfactual Learning",
NeurIPS 2015 (SNIPS); Dudik, Langford and Li, "Doubly Robust Policy Evaluation and Learning", ICML 2011 (DR); Kish 1965
(effective sample size); McInerney et al., "Counterfactual Evaluation of Slate Recommendations with Sequential Reward
Interactions", KDD 2020 (the weights of places in a list).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
FEW = 100.0
"""An effective sample size below this says next to nothing."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The mean reward of a policy and its percentile-bootstrap interval.

    Args:
        effective: the effective sample size: so many rows of the evaluated policy itself would say as much.
        rows: decisions in the log.
    """

    value: float
    low: float
    high: float
    effective: float
    rows: int

    @property
    def is_weak(self) -> bool:
        """Whether the log says too little about the policy."""
        return self.effective < FEW


def weights(logged: Floats, target: Floats) -> Floats:
    """Importance weights q / p.

    Raises:
        ValueError: a probability is not in 0..1, or a logged one is 0: such an action can't have been taken.
    """
    for name, chances in (("logged", logged), ("target", target)):
        if not np.all((chances >= 0) & (chances <= 1)):
            raise ValueError(f"a {name} probability is not in 0..1")
    if np.any(logged == 0):
        raise ValueError("a logged action has the probability 0")
    return np.asarray(target / logged, dtype=np.float64)


def effective_sample_size(weight: Floats) -> float:
    """(sum w)^2 / sum w^2; 0 if all weights are 0."""
    squares = float(np.sum(weight**2))
    return float(np.sum(weight)) ** 2 / squares if squares > 0 else 0.0


def ips(weight: Floats, reward: Floats) -> float:
    """Inverse propensity scoring: unbiased; the variance grows with the largest weights."""
    return float(np.mean(weight * reward))


def snips(weight: Floats, reward: Floats) -> float:
    """Self-normalized: slightly biased, with less variance, and never outside the range of the rewards."""
    total = float(np.sum(weight))
    return float(np.sum(weight * reward)) / total if total > 0 else float("nan")


def doubly_robust(weight: Floats, reward: Floats, predicted: Floats, expected: Floats) -> float:
    """Unbiased if the propensities or the reward model are right.

    Args:
        predicted: the model's reward of the logged action.
        expected: the model's mean reward under the evaluated policy, over all its actions.
    """
    return float(np.mean(expected + weight * (reward - predicted)))


def predicted_rewards(
    logged: Floats, actions: Floats, target: Floats, reward: Floats, users: npt.ArrayLike
) -> tuple[Floats, Floats]:
    """The arguments `predicted` and `expected` of `doubly_robust`, by least squares on the actions' features.

    A row is predicted by a model of the other half of the users, so that no reward predicts itself.

    Args:
        logged: shape (rows, features), of the logged action.
        actions: shape (rows, actions, features), of all actions; those that a row lacks have the probability 0.
        target: shape (rows, actions), their probabilities under the evaluated policy.
    """
    _, user = np.unique(np.asarray(users), return_inverse=True)
    predicted, expected = np.zeros(len(reward)), np.zeros(len(reward))
    for half in (0, 1):
        ours, others = user % 2 == half, user % 2 != half
        weight, *_ = np.linalg.lstsq(_with_bias(logged[others]), reward[others], rcond=None)
        predicted[ours] = _with_bias(logged[ours]) @ weight
        expected[ours] = np.sum(target[ours] * (_with_bias(actions[ours]) @ weight), axis=1)
    return predicted, expected


def _with_bias(features: Floats) -> Floats:
    return np.concatenate([features, np.ones((*features.shape[:-1], 1))], axis=-1)


def list_weights(logged: Floats, target: Floats) -> Floats:
    """The weight of each place in a list, which depends on the places above it as well: cumulative products.

    Args:
        logged, target: shape (lists, places), the probability of each place's item given those above.
    """
    return np.asarray(np.cumprod(weights(logged, target), axis=1), dtype=np.float64)


def list_snips(weight: Floats, reward: Floats) -> float:
    """The summed reward of a list: SNIPS of each place, with the weights of `list_weights`."""
    return sum(snips(weight[:, place], reward[:, place]) for place in range(weight.shape[1]))


def with_interval(
    estimator: Callable[..., float],
    *arrays: Floats,
    users: npt.ArrayLike,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """An estimate and its interval, by resampling users: rows of one user are not independent.

    Args:
        estimator: of the arrays, the first of which are the weights.
        users: the user of each row.
    """
    rows = len(arrays[0])
    _, user = np.unique(np.asarray(users), return_inverse=True)
    order = np.argsort(user, kind="stable")
    bounds = np.searchsorted(user[order], np.arange(user.max() + 2)) if rows else np.zeros(1, dtype=np.int64)
    number = len(bounds) - 1
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(resamples if number else 0):
        drawn = rng.integers(number, size=number)
        lengths = bounds[drawn + 1] - bounds[drawn]
        offsets = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        chosen = order[np.repeat(bounds[drawn], lengths) + offsets]
        values.append(estimator(*(array[chosen] for array in arrays)))
    found = np.asarray(values)
    found = found[~np.isnan(found)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(found, [tail, 1 - tail]) if len(found) else (float("nan"), float("nan"))
    value = estimator(*arrays) if rows else float("nan")
    # Of a list, the place that is known least.
    effective = min((effective_sample_size(column) for column in np.atleast_2d(arrays[0].T)), default=0.0)
    return Estimate(value, float(low), float(high), effective, rows)
