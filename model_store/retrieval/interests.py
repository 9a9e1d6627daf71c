"""What a user wants now, as a few vectors made of those of recent items. No model is asked.

Liked and viewed items are clustered: a user with two interests gets two vectors, instead of one between them that fits
neither. Later items count more, and disliked ones push away.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model_store.retrieval.vectors import Floats


class Interests(NamedTuple):
    """`vectors` of shape (m, dimensions), unit rows, the strongest first; `weights` of shape (m,), with the sum 1."""

    vectors: Floats
    weights: Floats


@dataclass(frozen=True, slots=True)
class InterestOptions:
    """Chosen by recall among all items, known and hidden, of validation users (docs/results.md)."""

    most: int = 2
    """Interests of a user."""
    same_at: float = 0.35
    """The cosine from which an item belongs to an interest."""
    halving: float = 3.0
    """After so many later items, an item counts half."""
    neutral: float = 0.5
    """The weight of an item that was neither liked nor disliked."""
    push: float = 0.15
    """How strongly disliked items push away."""


def interests(
    vectors: Floats, signs: Sequence[int] | npt.NDArray[np.int64], options: InterestOptions = InterestOptions()
) -> Interests:
    """The interests of a user.

    Args:
        vectors: of recent items, (n, dimensions), unit rows, oldest first.
        signs: 1 for a liked item, -1 for a disliked one, else 0.

    Returns:
        None (m = 0) if no item was liked or viewed.
    """
    dimensions = vectors.shape[1]
    given = np.asarray(signs, dtype=np.int64)
    ages = np.arange(len(vectors))[::-1]
    weights = np.exp2(-ages / options.halving) * np.where(given == 0, options.neutral, 1.0)
    wanted = given >= 0
    clusters = _clusters(vectors[wanted], weights[wanted], options)
    if not len(clusters.weights):
        return Interests(np.zeros((0, dimensions), np.float32), np.zeros(0, np.float32))
    unwanted = vectors[~wanted]
    if len(unwanted):
        near = np.maximum(clusters.vectors @ unwanted.T, 0.0) * weights[~wanted]
        total = np.maximum(weights[~wanted].sum(), 1e-9)
        pushed = clusters.vectors - options.push * (near @ unwanted) / total
        clusters = Interests(_unit(pushed), clusters.weights)
    return clusters


def combined(scores: Floats, weights: Floats) -> Floats:
    """One score of each item for all interests: that of the interest it fits best, which counts more if it is strong.

    Args:
        scores: cosines, (m, n).
        weights: of the interests, (m,).

    Returns:
        Shape (n,).
    """
    strength = np.log(np.maximum(weights, 1e-6))[:, None] * 0.05
    return np.asarray((scores + strength).max(axis=0), dtype=np.float32)


def _clusters(vectors: Floats, weights: npt.NDArray[np.float64], options: InterestOptions) -> Interests:
    """Groups of similar items, begun by the latest item that is in none."""
    sums: list[npt.NDArray[np.float64]] = []
    lengths: list[float] = []
    totals: list[float] = []
    for vector, weight in zip(vectors[::-1], weights[::-1], strict=True):
        fits = [float(vector @ one) / length for one, length in zip(sums, lengths, strict=True)]
        best = int(np.argmax(fits)) if fits else -1
        if best < 0 or (fits[best] < options.same_at and len(sums) < 2 * options.most):
            best = len(sums)
            sums.append(np.zeros(vectors.shape[1]))
            lengths.append(0.0)
            totals.append(0.0)
        sums[best] += weight * vector
        lengths[best] = max(float(np.linalg.norm(sums[best])), 1e-9)
        totals[best] += float(weight)
    order = np.argsort(-np.array(totals), kind="stable")[: options.most]
    if not len(order):
        return Interests(np.zeros((0, vectors.shape[1]), np.float32), np.zeros(0, np.float32))
    kept = np.array(totals)[order]
    return Interests(_unit(np.stack(sums)[order]), np.asarray(kept / kept.sum(), dtype=np.float32))


def _unit(rows: npt.NDArray[np.float64] | Floats) -> Floats:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, 1e-9), dtype=np.float32)
