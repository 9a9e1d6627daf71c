"""How well probabilities agree with what users did: Brier score, expected calibration error, reliability plot.

In a sampled protocol one of `1 + n_negatives` candidates is the target, and this share is what well calibrated
probabilities average to.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model_store.evaluate.metrics import Counts, Floats, Interval, resampled_users

BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """Candidates with probabilities next to each other: their mean probability, and the share that is a target."""

    predicted: float
    observed: float
    candidates: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """`brier` and `ece` with 95 % intervals over users, 0..1; `base_rate` is the share of candidates that are targets.

    `brier_of_base_rate` is the Brier score of giving every candidate the base rate.
    """

    brier: Interval
    ece: Interval
    base_rate: float
    brier_of_base_rate: float
    bins: tuple[Bin, ...]


def calibration(probabilities: Sequence[Sequence[float]], targets: Sequence[int]) -> Calibration:
    """Measure probabilities (0..1, one per candidate of each case) against the cases' targets.

    The bins of ECE and plot have equal numbers of candidates (Nguyen and O'Connor, EMNLP 2015): with one target among
    twenty others, nearly all probabilities would be in the first of ten equally wide bins.

    Raises:
        ValueError: no cases, or a probability outside 0..1.
    """
    lengths = np.array([len(row) for row in probabilities])
    predicted = np.array([value for row in probabilities for value in row])
    if len(predicted) == 0:
        raise ValueError("no probabilities to measure")
    if not ((predicted >= 0) & (predicted <= 1)).all():
        raise ValueError("probabilities must be in 0..1")
    users = np.repeat(np.arange(len(lengths)), lengths)
    observed = np.zeros(len(predicted))
    observed[np.concatenate([[0], np.cumsum(lengths)[:-1]]) + np.array(targets)] = 1
    bins = _bins(predicted)
    base_rate = float(observed.mean())
    return Calibration(
        brier=_brier(predicted, observed, users, lengths),
        ece=_ece(predicted, observed, users, bins),
        base_rate=base_rate,
        brier_of_base_rate=base_rate * (1 - base_rate),
        bins=tuple(
            Bin(float(predicted[inside].mean()), float(observed[inside].mean()), int(inside.sum()))
            for inside in (bins == number for number in np.unique(bins))
        ),
    )


def _bins(predicted: Floats) -> Counts:
    """The number of each candidate's bin; equal probabilities share one."""
    edges = np.quantile(predicted, np.arange(1, BINS) / BINS)
    numbers: Counts = np.searchsorted(edges, predicted, side="left")
    return numbers


def _brier(predicted: Floats, observed: Floats, users: Counts, lengths: Counts) -> Interval:
    errors = np.bincount(users, (predicted - observed) ** 2, len(lengths))
    weights = resampled_users(len(lengths))
    return Interval.of(float(errors.sum() / lengths.sum()), weights @ errors / (weights @ lengths))


def _ece(predicted: Floats, observed: Floats, users: Counts, bins: Counts) -> Interval:
    """The mean distance between predicted and observed shares over the bins, weighted by their candidates."""
    gaps = np.zeros((int(users[-1]) + 1, BINS))
    np.add.at(gaps, (users, bins), predicted - observed)
    weights, lengths = resampled_users(len(gaps)), np.bincount(users)
    return Interval.of(
        float(np.abs(gaps.sum(axis=0)).sum() / lengths.sum()),
        np.abs(weights @ gaps).sum(axis=1) / (weights @ lengths),
    )
