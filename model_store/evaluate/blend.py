"""Fits the weights with which a model version mixes the MLLM's score with collaborative evidence and popularity.

The weights are those of a conditional logit (McFadden, 1974): within each user's candidates they make
the liked item the most likely choice, whatever the user's general level. One slope and one bias
for all users then turn the mixture into a probability (Platt scaling). Both by Newton's method.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from model_store.evaluate.metrics import Counts, Floats
from model_store.registry.manifest import Blend

RIDGE = 1e-2
"""Of the standardised weights: keeps them finite when the evidence separates the classes."""
STEPS, PRECISION = 100, 1e-9
LEAST_SLOPE = 1e-3
FEATURES = ("mllm", "collaborative", "popular")
Objective = Callable[[Floats], tuple[float, Floats, Floats]]
"""Weights -> (value to minimise, gradient, Hessian)."""


@dataclass(frozen=True, slots=True)
class BlendReport:
    """How good a blend is on some cases.

    `auc`: mean over groups, 0..1. `calibration_error`: expected calibration error, 0..1, over ten bins
    of equal size (Naeini et al., AAAI 2015). `log_loss` in nats per candidate.
    """

    auc: float
    calibration_error: float
    log_loss: float


def fit_blend(
    mllm_logits: Sequence[float],
    collaborative: Sequence[float],
    popularity: Sequence[float],
    labels: Sequence[float],
    groups: Sequence[Hashable],
) -> Blend:
    """Fit the blend on candidates with known labels; all arguments have one entry per candidate.

    Evidence that makes the mean AUC over groups worse than the best single kind of evidence gets no
    weight, so that the blend is never worse than that on the cases it is fitted on. Nor does
    evidence that would count backwards: among popularity-drawn negatives a popular item is the less
    likely target, yet a service that held popularity against items would greet new users with
    what nobody likes.

    Args:
        mllm_logits: logit of p(yes).
        collaborative: summed cosine co-occurrence, 0..
        popularity: interaction counts, 0..
        labels: 1 for liked, 0 for not.
        groups: whose candidate it is; only groups with both labels count for the weights.

    Raises:
        ValueError: lengths differ, a value is not finite, or no group has both labels.
    """
    features, liked, group = _checked(mllm_logits, collaborative, popularity, labels, groups)
    if not _mixed(liked, group).any():
        raise ValueError("no group has both liked and other candidates")
    weights = _choose(features, liked, group)
    slope, bias = _calibrate(features @ weights, liked)
    mllm, collaborative_weight, popular = (slope * weights).tolist()
    return Blend(bias=bias, mllm=mllm, collaborative=collaborative_weight, popular=popular)


def assess_blend(
    blend: Blend,
    mllm_logits: Sequence[float],
    collaborative: Sequence[float],
    popularity: Sequence[float],
    labels: Sequence[float],
    groups: Sequence[Hashable],
) -> BlendReport:
    """Measure a blend on candidates with known labels; arguments as for `fit_blend`."""
    features, liked, group = _checked(mllm_logits, collaborative, popularity, labels, groups)
    odds = blend.bias + features @ np.array([blend.mllm, blend.collaborative, blend.popular])
    return BlendReport(
        auc=_grouped_auc(odds, liked, group),
        calibration_error=calibration_error(_sigmoid(odds), liked),
        log_loss=float(np.mean(np.logaddexp(0, odds) - liked * odds)),
    )


def calibration_error(probabilities: Floats, liked: Floats, bins: int = 10) -> float:
    """Mean distance between what was promised and what came, over bins of equal size; 0..1."""
    order = np.argsort(probabilities, kind="stable")
    gaps = [
        len(part) * abs(float(probabilities[part].mean() - liked[part].mean()))
        for part in np.array_split(order, bins)
        if len(part)
    ]
    return sum(gaps) / len(probabilities)


def _checked(
    mllm_logits: Sequence[float],
    collaborative: Sequence[float],
    popularity: Sequence[float],
    labels: Sequence[float],
    groups: Sequence[Hashable],
) -> tuple[Floats, Floats, Counts]:
    lengths = {len(column) for column in (mllm_logits, collaborative, popularity, labels, groups)}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError("every candidate needs one entry in each column")
    columns = [np.asarray(column, dtype=np.float64) for column in (mllm_logits, collaborative, popularity, labels)]
    if not all(np.isfinite(column).all() for column in columns):
        raise ValueError("evidence and labels must be finite numbers")
    numbers: dict[Hashable, int] = {}
    group = np.array([numbers.setdefault(name, len(numbers)) for name in groups], dtype=np.int64)
    return np.stack([columns[0], np.log1p(columns[1]), np.log1p(columns[2])], axis=1), columns[3], group


def _choose(features: Floats, liked: Floats, group: Counts) -> Floats:
    """The most likely weights among those that no single kind of evidence beats and that count nothing backwards."""
    kinds = range(features.shape[1])
    fits = [
        _fit_choices(features, liked, group, subset)
        for size in range(1, len(FEATURES) + 1)
        for subset in combinations(kinds, size)
    ]
    singles = [_grouped_auc(features[:, kind], liked, group) for kind in kinds]
    good = [fit for fit in fits if min(fit[1]) >= 0 and _grouped_auc(features @ fit[1], liked, group) >= max(singles)]
    if good:
        return min(good, key=lambda fit: fit[0])[1]
    best: Floats = np.eye(len(FEATURES))[int(np.argmax(singles))] * (max(singles) > 0.5)
    return best


def _fit_choices(features: Floats, liked: Floats, group: Counts, subset: Sequence[int]) -> tuple[float, Floats]:
    """(loss, weights) of the conditional logit on a subset of the features; the others' weights are 0."""
    columns = list(subset)
    spread = np.maximum(features[:, columns].std(axis=0), 1e-12)
    scaled = features[:, columns] / spread
    wins = np.bincount(group, weights=liked)

    def loss(weights: Floats) -> tuple[float, Floats, Floats]:
        odds = scaled @ weights
        highest = np.full(len(wins), -np.inf)
        np.maximum.at(highest, group, odds)
        grown = np.exp(odds - highest[group])
        totals = np.bincount(group, weights=grown)
        share = grown / totals[group]
        value = float(wins @ (np.log(totals) + highest) - liked @ odds) + 0.5 * RIDGE * float(weights @ weights)
        gradient = scaled.T @ (wins[group] * share - liked) + RIDGE * weights
        means = np.stack([np.bincount(group, weights=share * column) for column in scaled.T], axis=1)
        centred = scaled - means[group]
        curve = (centred * (wins[group] * share)[:, None]).T @ centred + RIDGE * np.eye(len(weights))
        return value, gradient, curve

    value, best = _newton(loss, np.zeros(len(columns)))
    weights = np.zeros(features.shape[1])
    weights[columns] = best / spread
    return value, weights


def _calibrate(odds: Floats, liked: Floats) -> tuple[float, float]:
    """Slope (> 0, so that the order stays) and bias of the logistic regression of the labels on `odds`."""
    centre, spread = float(odds.mean()), max(float(odds.std()), 1e-12)
    inputs = np.stack([(odds - centre) / spread, np.ones_like(odds)], axis=1)
    penalty = RIDGE * np.eye(2)

    def loss(weights: Floats) -> tuple[float, Floats, Floats]:
        logits = inputs @ weights
        likely = _sigmoid(logits)
        value = float(np.sum(np.logaddexp(0, logits) - liked * logits) + 0.5 * weights @ penalty @ weights)
        curve = (inputs * (likely * (1 - likely))[:, None]).T @ inputs + penalty
        return value, inputs.T @ (likely - liked) + penalty @ weights, curve

    slope, level = _newton(loss, np.zeros(2))[1]
    slope = max(float(slope) / spread, LEAST_SLOPE)
    return slope, float(level) - slope * centre


def _newton(loss: Objective, start: Floats) -> tuple[float, Floats]:
    """Minimise a convex loss; steps are halved until they help."""
    weights = start
    value, gradient, curve = loss(weights)
    for _ in range(STEPS):
        step = np.linalg.solve(curve, gradient)
        while (reached := loss(weights - step))[0] > value and np.abs(step).max() > PRECISION:
            step = step / 2
        if np.abs(step).max() <= PRECISION:
            break
        weights = weights - step
        value, gradient, curve = reached
    return value, weights


def _mixed(liked: Floats, group: Counts) -> npt.NDArray[np.bool_]:
    wins = np.bincount(group, weights=liked)
    mixed: npt.NDArray[np.bool_] = (wins > 0) & (wins < np.bincount(group))
    return mixed


def _grouped_auc(scores: Floats, liked: Floats, group: Counts) -> float:
    """Mean over the groups with both labels of the chance that a liked candidate stands above another."""
    areas: list[float] = []
    for members in _members(group):
        good, bad = scores[members[liked[members] > 0]], scores[members[liked[members] == 0]]
        if len(good) and len(bad):
            gaps = np.sign(good[:, None] - bad[None, :])
            areas.append(0.5 + 0.5 * float(gaps.mean()))
    return float(np.mean(areas)) if areas else 0.5


def _members(group: Counts) -> list[Counts]:
    return np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])


def _sigmoid(odds: Floats) -> Floats:
    likely: Floats = np.exp(-np.logaddexp(0, -odds))
    return likely
