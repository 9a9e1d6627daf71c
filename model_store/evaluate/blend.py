"""Fits the weights with which a model version blends the MLLM's score, the collaborative score and popularity.

The weights are those of a conditional logit (McFadden, 1974): within each case's candidates they maximize
the likelihood of the target, whatever the user's general level. One slope and one bias for all users
then turn the blend into a probability (Platt scaling).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression

from model_store.blend import blend_features
from model_store.evaluate.metrics import Counts, Floats, auc, rank_targets
from model_store.registry.manifest import Blend

RIDGE = 1e-2
"""Of the standardised weights: keeps them finite when a feature separates the classes."""
MIN_SLOPE = 1e-3
MIN_WEIGHT = 1e-6
"""Standardised weights below it are rounding errors of the optimiser, which would only break ties at random."""
FEATURES = 3
Column = Sequence[Sequence[float]]
"""Per case one value per candidate."""


@dataclass(frozen=True, slots=True)
class BlendCases:
    """The features of every case's candidates; shorter cases are padded.

    `features`: shape (cases, candidates, 3). `present`: false for padding, shape (cases, candidates).
    `targets`: the position of each case's target, shape (cases,).
    """

    features: Floats
    present: npt.NDArray[np.bool_]
    targets: Counts

    @classmethod
    def of(cls, mllm: Column, collaborative: Column, popularity: Column, targets: Sequence[int]) -> "BlendCases":
        """Collect cases from one column per feature, as `blend_features` takes them.

        Raises:
            ValueError: no cases, different lengths, or a value that is not finite.
        """
        rows = [
            [blend_features(*values) for values in zip(*columns, strict=True)]
            for columns in zip(mllm, collaborative, popularity, strict=True)
        ]
        if not rows or len(rows) != len(targets):
            raise ValueError(f"{len(rows)} cases can't be fitted with {len(targets)} targets")
        present = np.arange(max(map(len, rows))) < np.array([len(row) for row in rows])[:, None]
        features = np.zeros((*present.shape, FEATURES))
        features[present] = [candidate for row in rows for candidate in row]
        if not np.isfinite(features).all():
            raise ValueError("features must be finite numbers")
        return cls(features, present, np.array(targets, dtype=np.int64))

    @property
    def labels(self) -> Floats:
        """1 for each target, 0 for each other candidate. Shape (all candidates,)."""
        labels = np.zeros(self.present.shape)
        labels[np.arange(len(self.targets)), self.targets] = 1
        return labels[self.present]

    def auc(self, weights: npt.ArrayLike) -> float:
        """Mean AUC over the cases with these weights of the features, shape (3,)."""
        scores = self.features @ np.asarray(weights)
        rows = [row[present].tolist() for row, present in zip(scores, self.present, strict=True)]
        return float(auc(rank_targets(rows, self.targets.tolist())).mean())


def fit_blend(cases: BlendCases) -> Blend:
    """Fit the blend.

    A feature that makes the mean AUC worse than the best single feature gets no weight: on the cases
    it is fitted on, the blend is never worse than that feature. No weight is negative: among negatives
    drawn by popularity a popular item is the less likely target, but a negative weight would make the
    service recommend the least popular items to new users.

    Raises:
        ValueError: a case has no negative.
    """
    weights = _choose(cases)
    slope, bias = _calibrate((cases.features @ weights)[cases.present], cases.labels)
    mllm, collaborative, popular = (slope * weights).tolist()
    return Blend(bias=bias, mllm=mllm, collaborative=collaborative, popular=popular)


def _choose(cases: BlendCases) -> Floats:
    """The most likely weights of those that are at least as good as every single feature."""
    fits = [
        _fit_choices(cases, list(subset))
        for size in range(1, FEATURES + 1)
        for subset in combinations(range(FEATURES), size)
    ]
    singles = [cases.auc(weights) for weights in np.eye(FEATURES)]
    good = [fit for fit in fits if cases.auc(fit[1]) >= max(singles)]
    if good:
        return min(good, key=lambda fit: fit[0])[1]
    best: Floats = np.eye(FEATURES)[int(np.argmax(singles))]
    return best


def _fit_choices(cases: BlendCases, columns: list[int]) -> tuple[float, Floats]:
    """(loss, weights >= 0) of the conditional logit on some of the features; the others' weights are 0."""
    spread = np.maximum(cases.features[cases.present][:, columns].std(axis=0), 1e-12)
    scaled = cases.features[:, :, columns] / spread
    chosen = scaled[np.arange(len(cases.targets)), cases.targets].sum(axis=0)

    def loss(weights: Floats) -> tuple[float, Floats]:
        odds = np.where(cases.present, scaled @ weights, -np.inf)
        total = logsumexp(odds, axis=1, keepdims=True)
        value = total.sum() - chosen @ weights + RIDGE / 2 * weights @ weights
        expected = np.einsum("cn,cnf->f", np.exp(odds - total), scaled)
        return float(value), expected - chosen + RIDGE * weights

    bounds = [(0, None)] * len(columns)
    found = minimize(loss, np.zeros(len(columns)), jac=True, method="SLSQP", bounds=bounds, tol=1e-9)
    weights = np.zeros(FEATURES)
    weights[columns] = np.where(found.x > MIN_WEIGHT, found.x, 0) / spread
    return float(found.fun), weights


def _calibrate(odds: Floats, labels: Floats) -> tuple[float, float]:
    """Slope (> 0, to keep the order) and bias of the logistic regression of the labels on `odds`."""
    centre, spread = float(odds.mean()), max(float(odds.std()), 1e-12)
    fitted = LogisticRegression(C=1 / RIDGE, solver="newton-cholesky").fit((odds[:, None] - centre) / spread, labels)
    slope = max(float(fitted.coef_[0, 0]) / spread, MIN_SLOPE)
    return slope, float(fitted.intercept_[0]) - slope * centre
