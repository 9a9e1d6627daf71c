"""Ranking candidates by the MLLM's score and by what other users did. Pure arithmetic."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from model_store.blend import among, blend, blend_features, logit, sigmoid
from model_store.registry.manifest import Blend

FALLBACK = Blend(collaborative=1.0, popular=0.1)
"""Weights for a model version that has none, used when its own scores are missing."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One candidate with its blended score in 0..1 and the features that it was computed from."""

    item_id: str
    score: float
    mllm: float | None
    collaborative: float
    popular: float
    item_weights: float


def blended(
    item_ids: Iterable[str],
    mllm: Mapping[str, float],
    collaborative: Mapping[str, float],
    popular: Mapping[str, float],
    item_weights: Mapping[str, float],
    weights: Blend,
) -> list[Scored]:
    """The candidates, best first.

    Ties are broken by the collaborative score, by popularity and by the given order.

    Args:
        mllm: p(yes) by item id, 0..1. In this and the next mappings, a missing feature counts 0.
        collaborative: summed cosine co-occurrence with the recents, 0..
        popular: number of users who liked the item, 0..
        item_weights: summed weights of the recents for the item, of either sign.
    """
    ids, rows = list(item_ids), []
    weights = among(weights, [popular.get(item_id, 0.0) for item_id in ids])
    for item_id in ids:
        score, weight = mllm.get(item_id), item_weights.get(item_id, 0.0)
        together, likes = collaborative.get(item_id, 0.0), popular.get(item_id, 0.0)
        odds = blend(weights, blend_features(0.0 if score is None else logit(score), together, likes, weight))
        rows.append((odds, Scored(item_id, sigmoid(odds), score, together, likes, weight)))
    # Odds come second: far out, where all scores round to 1, they still differ.
    rows.sort(key=lambda row: (-row[1].score, -row[0], -row[1].collaborative, -row[1].popular))
    return [scored for _, scored in rows]


def without_model(weights: Blend) -> Blend:
    """The weights for when the model's scores are missing: never without a weight for another feature."""
    if weights.collaborative > 0 or weights.popular > 0 or weights.item_weights > 0:
        return weights
    return weights.model_copy(update={"collaborative": FALLBACK.collaborative, "popular": FALLBACK.popular})
