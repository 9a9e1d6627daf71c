"""Ranking metrics over evaluation cases of one target among negatives, with confidence intervals over users.

All metrics need only the target's rank: how many negatives score higher and how many score the same
(`TargetRanks`). With ties, a metric is its mean over all orders of the tied candidates, as in AUC, where a tie counts
one half. A constant score gets the expected value of a random order.

Sampled metrics compare methods within one protocol only; they are not comparable with metrics over
the full catalogue (Krichene & Rendle, "On Sampled Metrics for Item Recommendation", KDD 2020).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import bootstrap

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
_RESAMPLES_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class TargetRanks:
    """Each target's rank: negatives above it, tied with it, and in total. All of shape (cases,)."""

    above: Counts
    tied: Counts
    negatives: Counts


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over users and its percentile-bootstrap confidence interval."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, resampled: Floats) -> "Interval":
        """`value` with the 95 % interval of the same statistic of resampled users."""
        low, high = np.percentile(resampled, [2.5, 97.5])
        return cls(value, float(low), float(high))


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles of `calls` durations, in milliseconds."""

    calls: int
    p50: float
    p95: float
    p99: float


def rank_targets(scores: Iterable[Sequence[float]], targets: Iterable[int]) -> TargetRanks:
    """Rank each case's target among its negatives.

    Args:
        scores: per case one score per candidate; higher is better. Cases may differ in length.
        targets: per case the position of the target among its candidates.

    Raises:
        ValueError: a score is NaN, a case has no negative, or the two lengths differ.
    """
    rows: list[tuple[int, int, int]] = []
    for row, target in zip(scores, targets, strict=True):
        values = np.asarray(row, dtype=np.float64)
        if np.isnan(values).any():
            raise ValueError(f"case {len(rows)} has a score that is not a number")
        if len(values) < 2:
            raise ValueError(f"case {len(rows)} has no negative to rank the target against")
        own = values[target]
        rows.append((int((values > own).sum()), int((values == own).sum()) - 1, len(values) - 1))
    columns = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    return TargetRanks(columns[0], columns[1], columns[2])


def auc(ranks: TargetRanks) -> Floats:
    """The share of negatives below the target, ties counted one half. Shape (cases,)."""
    below = ranks.negatives - ranks.above - ranks.tied
    shares: Floats = (below + 0.5 * ranks.tied) / ranks.negatives
    return shares


def pooled_auc(scores: Sequence[Sequence[float]], targets: Sequence[int]) -> Interval:
    """AUC over the candidates of all users together, ties counted one half, with its interval over users.

    Unlike the mean of `auc`, it asks whether scores can be compared between users.
    """
    own = np.array([row[target] for row, target in zip(scores, targets, strict=True)])
    others = [np.delete(np.asarray(row, np.float64), target) for row, target in zip(scores, targets, strict=True)]
    users = np.repeat(np.arange(len(others)), [len(row) for row in others])
    negatives = np.concatenate(others)
    order = np.argsort(negatives, kind="stable")
    users, negatives = users[order], negatives[order]
    first, last = np.searchsorted(negatives, own, "left"), np.searchsorted(negatives, own, "right")

    def weighted(weights: Counts) -> float:
        """The AUC when each user counts `weights` times."""
        below = np.concatenate([[0], np.cumsum(weights[users])])
        return float(weights @ (below[first] + below[last]) / (2 * weights.sum() * below[-1]))

    resampled = np.array([weighted(weights) for weights in resampled_users(len(own))])
    return Interval.of(weighted(np.ones(len(own), dtype=np.int64)), resampled)


def hit_rate_at_k(ranks: TargetRanks, k: int) -> Floats:
    """1 where the target is among the first k. Shape (cases,)."""
    return _gain_at_k(ranks, np.ones(k))


def ndcg_at_k(ranks: TargetRanks, k: int) -> Floats:
    """1 / log2(1 + rank) where the target is among the first k: with one target the ideal DCG is 1. Shape (cases,)."""
    return _gain_at_k(ranks, 1.0 / np.log2(np.arange(2, k + 2)))


def mrr_at_k(ranks: TargetRanks, k: int) -> Floats:
    """1 / rank where the target is among the first k. Shape (cases,)."""
    return _gain_at_k(ranks, 1.0 / np.arange(1, k + 1))


def _gain_at_k(ranks: TargetRanks, gains: Floats) -> Floats:
    """The gain of the target's rank; `gains[r]` is that of rank r + 1, later ranks gain nothing."""
    last = ranks.above + ranks.tied
    summed = np.concatenate([[0.0], np.cumsum(gains)])
    total = summed[np.minimum(last + 1, len(gains))] - summed[np.minimum(ranks.above, len(gains))]
    mean: Floats = total / (ranks.tied + 1)
    return mean


def resampled_users(users: int, *, resamples: int = 1000, seed: int = 0) -> Counts:
    """How often each user is drawn in each resample of a bootstrap. Shape (resamples, users)."""
    drawn: Counts = np.random.default_rng(seed).multinomial(users, np.full(users, 1 / users), size=resamples)
    return drawn


def confidence(values: Floats, *, resamples: int = 2000, seed: int = 0) -> Interval:
    """The mean of one value per user, and its 95 % percentile-bootstrap interval over users.

    Raises:
        ValueError: `values` is empty.
    """
    if len(values) == 0:
        raise ValueError("no users to average over")
    mean = float(values.mean())
    if len(values) == 1:
        return Interval(mean, mean, mean)
    found = bootstrap(
        (values,),
        np.mean,
        n_resamples=resamples,
        batch=_RESAMPLES_AT_ONCE,
        confidence_level=0.95,
        method="percentile",
        rng=seed,
    ).confidence_interval
    return Interval(mean, float(found.low), float(found.high))


def paired_difference(left: Floats, right: Floats) -> Interval:
    """Mean of `left - right` over the same users, with its interval: variation common to both cancels out.

    Raises:
        ValueError: the two have different numbers of users.
    """
    if len(left) != len(right):
        raise ValueError(f"{len(left)} and {len(right)} users can't be paired")
    return confidence(left - right)


def latency(seconds: Sequence[float]) -> Latency:
    """Percentiles of durations in seconds; all zero without a call."""
    if not seconds:
        return Latency(0, 0.0, 0.0, 0.0)
    p50, p95, p99 = (float(value) * 1000 for value in np.percentile(np.asarray(seconds), [50, 95, 99]))
    return Latency(len(seconds), p50, p95, p99)
