"""Ranking candidates by the MLLM's score and by what other users did. Pure arithmetic."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from model_store.blend import FEATURES, among, blend, blend_features, logit, sigmoid
from model_store.item_models.item_models import ItemScores
from model_store.registry.manifest import Blend

FALLBACK = Blend(collaborative=1.0, popular=0.1)
"""Weights for a model version that has none, used when its own scores are missing."""
_NOTHING = ItemScores()


class Factors(NamedTuple):
    """What the odds of an item are multiplied by, for the request's boosts and for what was shown recently."""

    boost: float = 1.0
    rotation: float = 1.0


_NO_FACTORS = Factors()


@dataclass(frozen=True, slots=True)
class Scored:
    """One candidate with its blended score in 0..1, and the features and factors that it was computed from."""

    item_id: str
    score: float
    mllm: float | None
    collaborative: float
    popular: float
    item_weights: float
    item_vectors: float
    boost: float = 1.0
    rotation: float = 1.0


def blended(
    item_ids: Iterable[str],
    mllm: Mapping[str, float],
    collaborative: Mapping[str, float],
    popular: Mapping[str, float],
    near: Mapping[str, ItemScores],
    weights: Blend,
    factors: Mapping[str, Factors] | None = None,
) -> list[Scored]:
    """The candidates, best first.

    Ties are broken by the collaborative score, by popularity and by the given order.

    Args:
        mllm: p(yes) by item id, 0..1. In this and the next mappings, a missing feature counts 0.
        collaborative: summed cosine co-occurrence with the recents, 0..
        popular: number of users who liked the item, 0..
        near: what the item models of the version say of the item after the recents.
        factors: what the odds are multiplied by; nothing for a missing one.
    """
    ids, rows = list(item_ids), []
    weights = among(weights, [popular.get(item_id, 0.0) for item_id in ids])
    for item_id in ids:
        score, scores_near = mllm.get(item_id), near.get(item_id, _NOTHING)
        together, likes = collaborative.get(item_id, 0.0), popular.get(item_id, 0.0)
        odds = blend(weights, blend_features(0.0 if score is None else logit(score), together, likes, scores_near))
        by = factors.get(item_id, _NO_FACTORS) if factors else _NO_FACTORS
        odds += math.log(by.boost * by.rotation)
        rows.append((odds, Scored(item_id, sigmoid(odds), score, together, likes, *scores_near, *by)))
    # Odds come second: far out, where all scores round to 1, they still differ.
    rows.sort(key=lambda row: (-row[1].score, -row[0], -row[1].collaborative, -row[1].popular))
    return [scored for _, scored in rows]


def without_model(weights: Blend) -> Blend:
    """The weights for when the model's scores are missing: never without a weight for another feature."""
    if any(getattr(weights, name) > 0 for name in FEATURES if name != "mllm"):
        return weights
    return weights.model_copy(update={"collaborative": FALLBACK.collaborative, "popular": FALLBACK.popular})
