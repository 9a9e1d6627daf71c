"""Mixing the MLLM's score with what other users did. Pure arithmetic."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from model_store.registry.manifest import Blend

_EPSILON = 1e-6
"""Keeps the log-odds of a score of 0 or 1 finite."""

FALLBACK = Blend(collaborative=1.0, popular=0.1)
"""Evidence weights of a model version that has none, for when its own scores are missing."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of the candidates, by item id; an item that is not in a mapping has no such evidence.

    `mllm` is p(yes) in 0..1, `collaborative` the summed cosine co-occurrence with the recents (0..), `popular` the
    number of interactions (0..).
    """

    mllm: Mapping[str, float] = field(default_factory=dict)
    collaborative: Mapping[str, float] = field(default_factory=dict)
    popular: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scored:
    """One candidate with its blended score in 0..1 and what went into it."""

    item_id: str
    score: float
    mllm: float | None
    collaborative: float
    popular: float


def log_odds(blend: Blend, mllm: float | None, collaborative: float, popular: float) -> float:
    """The blend's log-odds; evidence that is missing counts 0."""
    return (
        blend.bias
        + blend.mllm * (0.0 if mllm is None else _logit(mllm))
        + blend.collaborative * math.log1p(max(0.0, collaborative))
        + blend.popular * math.log1p(max(0.0, popular))
    )


def blended(item_ids: Sequence[str], evidence: Evidence, blend: Blend) -> list[Scored]:
    """The candidates, best first. Ties are broken by collaborative evidence, popularity and the given order."""
    rows = []
    for item_id in item_ids:
        mllm = evidence.mllm.get(item_id)
        collaborative = evidence.collaborative.get(item_id, 0.0)
        popular = evidence.popular.get(item_id, 0.0)
        odds = log_odds(blend, mllm, collaborative, popular)
        rows.append((odds, Scored(item_id, sigmoid(odds), mllm, collaborative, popular)))
    # Odds come second: far out, where all scores round to 1, they still differ.
    rows.sort(key=lambda row: (-row[1].score, -row[0], -row[1].collaborative, -row[1].popular))
    return [scored for _, scored in rows]


def without_model(blend: Blend) -> Blend:
    """The blend for when the model's scores are missing: one that listens to the other evidence in any case."""
    if blend.collaborative > 0 or blend.popular > 0:
        return blend
    return blend.model_copy(update={"collaborative": FALLBACK.collaborative, "popular": FALLBACK.popular})


def sigmoid(odds: float) -> float:
    if odds >= 0:
        return 1.0 / (1.0 + math.exp(-odds))
    grown = math.exp(max(odds, -700.0))
    return grown / (1.0 + grown)


def _logit(probability: float) -> float:
    clipped = min(max(probability, _EPSILON), 1.0 - _EPSILON)
    return math.log(clipped / (1.0 - clipped))
