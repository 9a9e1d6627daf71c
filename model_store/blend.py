"""The blend's formula, and the conversion between probabilities and log-odds."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from model_store.item_models.item_models import ItemScores
from model_store.registry.manifest import Blend

_EPSILON = 1e-6
"""Keeps the log-odds of a probability of 0 or 1 finite."""


class Features(NamedTuple):
    """What the weights of the same names in a manifest's `Blend` multiply."""

    mllm: float
    collaborative: float
    popular: float
    item_weights: float
    item_vectors: float


FEATURES = Features._fields


def blend_features(mllm: float, collaborative: float, popular: float, near: ItemScores) -> Features:
    """The features of one candidate.

    Args:
        mllm: logit of the MLLM's p(yes).
        collaborative: summed cosine co-occurrence with the recents, 0..
        popular: interaction count, 0..
        near: what the item models say of it after the recents.
    """
    return Features(mllm, math.log1p(max(0.0, collaborative)), math.log1p(max(0.0, popular)), *near)


def among(weights: Blend, popular: Sequence[float]) -> Blend:
    """The weights for a request whose candidates have these interaction counts, with the discount applied."""
    if not weights.popular_discount or not popular:
        return weights
    mean = sum(math.log1p(max(0.0, count)) for count in popular) / len(popular)
    discounted = max(0.0, weights.popular - weights.popular_discount * mean)
    return weights.model_copy(update={"popular": discounted, "popular_discount": 0.0})


def blend(weights: Blend, features: Features) -> float:
    """The blended log-odds of one candidate. A discount must have been applied before, see `among`."""
    mllm, collaborative, popular, item_weights, item_vectors = features
    near = weights.collaborative * collaborative
    near += weights.item_weights * item_weights + weights.item_vectors * item_vectors
    return weights.bias + weights.mllm * mllm + near + weights.popular * popular


def logit(probability: float) -> float:
    clipped = min(max(probability, _EPSILON), 1.0 - _EPSILON)
    return math.log(clipped / (1.0 - clipped))


def sigmoid(log_odds: float) -> float:
    if log_odds >= 0:
        return 1.0 / (1.0 + math.exp(-log_odds))
    grown = math.exp(max(log_odds, -700.0))
    return grown / (1.0 + grown)
