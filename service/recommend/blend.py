"""Ranking candidates by the MLLM's score and by what other users did. Pure arithmetic."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from model_store.blend import blend, blend_features, logit, sigmoid
from model_store.registry.manifest import Blend

FALLBACK = Blend(collaborative=1.0, popular=0.1)
"""Weights for a model version that has none, used when its own scores are missing."""


@dataclass(frozen=True, slots=True)
class Features:
    """What is known about the candidates, by item id; an item that is not in a mapping lacks that feature.

    `mllm` is p(yes) in 0..1, `collaborative` the summed cosine co-occurrence with the recents (0..), `popular` the
    number of interactions (0..).
    """

    mllm: Mapping[str, float] = field(default_factory=dict)
    collaborative: Mapping[str, float] = field(default_factory=dict)
    popular: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scored:
    """One candidate with its blended score in 0..1 and the features that it was computed from."""

    item_id: str
    score: float
    mllm: float | None
    collaborative: float
    popular: float


def blended(item_ids: Sequence[str], features: Features, weights: Blend) -> list[Scored]:
    """The candidates, best first; a missing feature counts 0.

    Ties are broken by the collaborative score, by popularity and by the given order.
    """
    rows = []
    for item_id in item_ids:
        mllm = features.mllm.get(item_id)
        collaborative, popular = features.collaborative.get(item_id, 0.0), features.popular.get(item_id, 0.0)
        odds = blend(weights, blend_features(0.0 if mllm is None else logit(mllm), collaborative, popular))
        rows.append((odds, Scored(item_id, sigmoid(odds), mllm, collaborative, popular)))
    # Odds come second: far out, where all scores round to 1, they still differ.
    rows.sort(key=lambda row: (-row[1].score, -row[0], -row[1].collaborative, -row[1].popular))
    return [scored for _, scored in rows]


def without_model(weights: Blend) -> Blend:
    """The weights for when the model's scores are missing: never without collaborative and popularity weights."""
    if weights.collaborative > 0 or weights.popular > 0:
        return weights
    return weights.model_copy(update={"collaborative": FALLBACK.collaborative, "popular": FALLBACK.popular})
