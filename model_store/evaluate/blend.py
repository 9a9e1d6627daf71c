"""Fits the weights with which a model version blends the MLLM's score, collaborative scores and popularity.

Callers send different kinds of candidates: popular ones, any ones, those that retrieval found. What a feature is worth
depends on the kind: among uniform negatives popularity alone is strong, among negatives drawn by popularity it knows
nothing. So the blend is fitted on one set of cases for each kind, a *board*, and chosen to be good on all of them.
The weight of popularity depends on how popular the candidates of a request are on average: a correction for the
sampling of the candidates (as logQ, Yi et al., RecSys 2019), with the sampling seen in the candidates themselves.

Tried and left out, because no data set gained more than noise (fitted on validation users of movielens-posters and
microlens-50k, without the model): weighing co-occurrence by evidence n / (n + pivot) with pivots 3 to 100 (weight 0 and
+0.3 of 60 AUC), by the length of the history (0), log1p(10 c) or the square root of c instead of log1p(c) (-0.1 to
+0.6), popularity for users with few recents (+0.2 and 0).

The weights are those of a conditional logit (McFadden, 1974): within each case's candidates they maximize
the likelihood of the target, whatever the user's general level. One slope and one bias for all users
then turn the blend into a probability (Platt scaling).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, combinations
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression

from model_store.blend import FEATURES, Features, blend_features
from model_store.evaluate.metrics import Counts, Floats
from model_store.item_models.item_models import ItemScores
from model_store.registry.manifest import Blend

RIDGE = 1e-2
"""Of the standardised weights: keeps them finite when a feature separates the classes."""
MIN_SLOPE = 1e-3
MIN_WEIGHT = 1e-6
"""Standardised weights below it are rounding errors of the optimiser, which would only break ties at random."""
_SAME = 1e-9
"""Of a feature's largest value: a standard deviation up to it is a rounding error."""
WEIGHTS = (*FEATURES, "popular_discount")
"""The fields of a `Blend`, in the order of a vector of weights."""
_POPULAR, _DISCOUNT = WEIGHTS.index("popular"), WEIGHTS.index("popular_discount")
SINGLE: Floats = np.eye(len(FEATURES), len(WEIGHTS))
"""The weights that rank by each feature alone. Shape (features, weights)."""
_DISCOUNTS = (1.0, 1.1, 1.2, 1.35, 1.5)
Column = Sequence[Sequence[float]]
"""Per case one value per candidate."""


@dataclass(frozen=True)
class BlendCases:
    """The features of every case's candidates; shorter cases are padded.

    `features`: shape (cases, candidates, features). `present`: false for padding, shape (cases, candidates).
    `targets`: the position of each case's target, shape (cases,).
    """

    features: Floats
    present: npt.NDArray[np.bool_]
    targets: Counts

    @classmethod
    def of(
        cls,
        mllm: Column,
        collaborative: Column,
        popularity: Column,
        near: Sequence[Sequence[ItemScores]],
        targets: Sequence[int],
    ) -> "BlendCases":
        """Collect cases from one column per feature, as `blend_features` takes them.

        Raises:
            ValueError: no cases, different lengths, or a value that is not finite.
        """
        rows = [
            [blend_features(*values) for values in zip(*columns, strict=True)]
            for columns in zip(mllm, collaborative, popularity, near, strict=True)
        ]
        return cls.of_features(rows, targets)

    @classmethod
    def of_features(cls, rows: Sequence[Sequence[Features]], targets: Sequence[int]) -> "BlendCases":
        """Collect cases from the features of their candidates.

        Raises:
            ValueError: as `of`.
        """
        if not rows or len(rows) != len(targets):
            raise ValueError(f"{len(rows)} cases can't be fitted with {len(targets)} targets")
        present = np.arange(max(map(len, rows))) < np.array([len(row) for row in rows])[:, None]
        features = np.zeros((*present.shape, len(FEATURES)))
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

    @cached_property
    def design(self) -> Floats:
        """What each weight multiplies while no discount exceeds the weight. Shape (cases, candidates, weights)."""
        discount = -self.company * self.features[:, :, _POPULAR]
        return np.concatenate([self.features, discount[:, :, None]], axis=2)

    @cached_property
    def company(self) -> Floats:
        """How popular each case's candidates are: the mean of that feature. Shape (cases, 1)."""
        mean: Floats = self.features[:, :, _POPULAR].sum(axis=1, keepdims=True) / self.present.sum(
            axis=1, keepdims=True
        )
        return mean

    def scores(self, weights: Floats) -> Floats:
        """The log-odds without bias for weights of shape (weights,). Shape (cases, candidates)."""
        popular = np.maximum(0, weights[_POPULAR] - weights[_DISCOUNT] * self.company)
        others = np.delete(np.arange(len(FEATURES)), _POPULAR)
        scores: Floats = self.features[:, :, others] @ weights[others] + popular * self.features[:, :, _POPULAR]
        return scores

    def aucs(self, weights: Floats) -> Floats:
        """Each case's AUC with these weights, ties counted one half. Shape (cases,).

        Raises:
            ValueError: a case has no negative.
        """
        scores = self.scores(weights)
        own = scores[np.arange(len(self.targets)), self.targets][:, None]
        negatives = self.present.sum(axis=1) - 1
        if not negatives.all():
            raise ValueError(f"case {int(np.argmin(negatives))} has no negative to rank the target against")
        below = (self.present & (scores < own)).sum(axis=1)
        tied = (self.present & (scores == own)).sum(axis=1) - 1
        shares: Floats = (below + 0.5 * tied) / negatives
        return shares

    def auc(self, weights: Floats) -> float:
        """Mean AUC over the cases with these weights."""
        return float(self.aucs(weights).mean())


Boards = Mapping[Any, BlendCases]
"""Cases by the kind of their negatives."""


def fit_blend(boards: Boards) -> Blend:
    """Fit the blend.

    Weights are fitted for every choice of features and of boards, and with larger discounts, since the likelihood does
    not know that a discount ends at 0. Those with the highest mean AUC over the boards are taken, less what they lose
    on each board against the best single feature there. On one board, the blend is never worse than that feature.
    No weight is negative: among negatives drawn by popularity a popular item is the less
    likely target, but a negative weight would make the service recommend the least popular items to new users.

    Raises:
        ValueError: no boards, or a case has no negative.
    """
    if not boards:
        raise ValueError("a blend can't be fitted without cases")
    every = list(boards.values())
    weights = _choose(every)
    odds = [board.scores(weights)[board.present] for board in every]
    share = np.concatenate([np.full(len(own), 1 / len(own)) for own in odds])
    labels = np.concatenate([board.labels for board in every])
    slope, bias = calibrate(np.concatenate(odds), labels, share * len(labels) / len(every))
    return Blend(bias=bias, **dict(zip(WEIGHTS, (slope * weights).tolist(), strict=True)))


def blend_auc(blend: Blend, boards: Boards) -> dict[str, dict[str, float]]:
    """For each board, the AUC of every feature alone and of the blend, in percent."""
    rows = dict(zip(FEATURES, SINGLE, strict=True)) | {"blend": weights_of(blend)}
    return {
        kind: {name: round(100 * board.auc(row), 2) for name, row in rows.items()} for kind, board in boards.items()
    }


def weights_of(blend: Blend) -> Floats:
    """The vector of a blend's weights. Shape (weights,)."""
    return np.array([getattr(blend, name) for name in WEIGHTS])


class Fit(NamedTuple):
    """Weights, and minus their log-likelihood a case."""

    weights: Floats
    loss: float


def _choose(boards: Sequence[BlendCases]) -> Floats:
    singles = [max(board.auc(one) for one in SINGLE) for board in boards]

    def merit(fit: Fit) -> tuple[float, float]:
        aucs = np.array([board.auc(fit.weights) for board in boards])
        # Rounded, so that equal ones differ by their likelihood.
        return round(float(aucs.mean() + np.minimum(0, aucs - singles).sum()), 9), -fit.loss

    return max(_fits(boards), key=merit).weights


def _fits(boards: Sequence[BlendCases]) -> Iterator[Fit]:
    """Every single feature, and the most likely weights for every choice of weights and boards."""
    for single in SINGLE:
        yield Fit(single, np.inf)
    varying = [any(board.design[:, :, one].any() for board in boards) for one in range(len(WEIGHTS))]
    if not any(varying):
        yield Fit(np.zeros(len(WEIGHTS)), 0.0)
    for columns in _subsets(len(WEIGHTS)):
        # A feature that nothing has, such as item weights of a version without any, only repeats other fits.
        if not all(varying[one] for one in columns):
            continue
        if _DISCOUNT in columns and _POPULAR not in columns:
            continue
        for chosen in _subsets(len(boards)):
            # Another board only scales the weight of one feature.
            if len(columns) > 1 or len(chosen) == len(boards):
                fit = fit_weights([boards[number] for number in chosen], columns)
                for factor in _DISCOUNTS if _DISCOUNT in columns else (1.0,):
                    weights = fit.weights.copy()
                    weights[_DISCOUNT] *= factor
                    yield Fit(weights, fit.loss)


def _subsets(count: int) -> Iterator[list[int]]:
    """Every choice of at least one of the numbers below `count`."""
    return map(list, chain.from_iterable(combinations(range(count), size) for size in range(1, count + 1)))


def fit_weights(boards: Sequence[BlendCases], columns: list[int], extra: Sequence[Floats] = ()) -> Fit:
    """The conditional logit with some of the weights, all >= 0. Each board counts the same.

    Args:
        columns: of `WEIGHTS`; the others are 0.
        extra: per board one more feature, of shape (cases, candidates), whose weight is not returned.
    """
    designs = [board.design[:, :, columns] for board in boards]
    if extra:
        designs = [
            np.concatenate([design, one[:, :, None]], axis=2) for design, one in zip(designs, extra, strict=True)
        ]
    present = np.concatenate([design[board.present] for design, board in zip(designs, boards, strict=True)])
    spread = present.std(axis=0)
    # A feature that is the same everywhere says nothing; scaled, its rounding errors would get a weight.
    spread[spread <= _SAME * np.abs(present).max(axis=0)] = np.inf
    scaled = [design / spread for design in designs]
    cases = sum(len(board.targets) for board in boards)
    shares = [cases / len(boards) / len(board.targets) for board in boards]

    def loss(weights: Floats) -> tuple[float, Floats]:
        value, slope = RIDGE / 2 * weights @ weights, RIDGE * weights
        for board, features, share in zip(boards, scaled, shares, strict=True):
            odds = np.where(board.present, features @ weights, -np.inf)
            total = logsumexp(odds, axis=1, keepdims=True)
            chosen = features[np.arange(len(board.targets)), board.targets].sum(axis=0)
            expected = np.einsum("cn,cnf->f", np.exp(odds - total), features)
            value += share * (total.sum() - chosen @ weights)
            slope = slope + share * (expected - chosen)
        return float(value), slope

    size = present.shape[1]
    bounds = [(0, None)] * size
    found = minimize(loss, np.zeros(size), jac=True, method="SLSQP", bounds=bounds, tol=1e-9)
    weights = np.zeros(len(WEIGHTS))
    weights[columns] = (np.where(found.x > MIN_WEIGHT, found.x, 0) / spread)[: len(columns)]
    return Fit(weights, float(found.fun) / cases)


def calibrate(odds: Floats, labels: Floats, shares: Floats) -> tuple[float, float]:
    """Slope (> 0, to keep the order) and bias of the logistic regression of the labels on `odds`.

    `shares`: how much each counts, 1 in the mean.
    """
    centre, spread = float(odds.mean()), max(float(odds.std()), 1e-12)
    scaled = (odds[:, None] - centre) / spread
    fitted = LogisticRegression(C=1 / RIDGE, solver="newton-cholesky").fit(scaled, labels, sample_weight=shares)
    slope = max(float(fitted.coef_[0, 0]) / spread, MIN_SLOPE)
    return slope, float(fitted.intercept_[0]) - slope * centre
