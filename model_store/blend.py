"""The blend's formula, and the conversion between probabilities and log-odds."""

import math

from model_store.registry.manifest import Blend

_EPSILON = 1e-6
"""Keeps the log-odds of a probability of 0 or 1 finite."""
Features = tuple[float, float, float]
"""The factors of the weights `mllm`, `collaborative` and `popular`."""


def blend_features(mllm: float, collaborative: float, popular: float) -> Features:
    """The features of one candidate.

    Args:
        mllm: logit of the MLLM's p(yes).
        collaborative: summed cosine co-occurrence with the recents, 0..
        popular: interaction count, 0..
    """
    return mllm, math.log1p(max(0.0, collaborative)), math.log1p(max(0.0, popular))


def blend(weights: Blend, features: Features) -> float:
    """The blended log-odds of one candidate."""
    mllm, collaborative, popular = features
    return weights.bias + weights.mllm * mllm + weights.collaborative * collaborative + weights.popular * popular


def logit(probability: float) -> float:
    clipped = min(max(probability, _EPSILON), 1.0 - _EPSILON)
    return math.log(clipped / (1.0 - clipped))


def sigmoid(log_odds: float) -> float:
    if log_odds >= 0:
        return 1.0 / (1.0 + math.exp(-log_odds))
    grown = math.exp(max(log_odds, -700.0))
    return grown / (1.0 + grown)
