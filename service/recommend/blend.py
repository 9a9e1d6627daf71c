"""Ranking candidates by the MLLM's score and by what other users did. Pure arithmetic."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from model_store.blend import FEATURES, among, blend, blend_features, logit, sigmoid
from model_store.item_models.item_models import ItemScores
from model_store.registry.manifest import Blend

MET = 5.0
"""Users who like an item from which its evidence is taken as it is. Below, it is no evidence against the item."""
FALLBACK = Blend(collaborative=1.0, popular=0.1)
"""Weights for a model version that has none, used when its own scores are missing."""
_NOTHING = ItemScores()


class Factors(NamedTuple):
    """What the odds of an item are multiplied by, for the request's boosts and for what was shown recently."""

    boost: float = 1.0
    rotation: float = 1.0


_NO_FACTORS = Factors()


class Exploration(NamedTuple):
    """How many of the `shown` places of an answer may go to items that few users met; the model decides about them."""

    places: int
    shown: int


NO_EXPLORATION = Exploration(0, 0)


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
    unmet: float = 0.0


def blended(
    item_ids: Iterable[str],
    mllm: Mapping[str, float],
    collaborative: Mapping[str, float],
    popular: Mapping[str, float],
    near: Mapping[str, ItemScores],
    weights: Blend,
    factors: Mapping[str, Factors] | None = None,
    exploration: Exploration = NO_EXPLORATION,
) -> list[Scored]:
    """The candidates, best first.

    Ties are broken by the collaborative score, by popularity and by the given order.

    Args:
        mllm: p(yes) by item id, 0..1. In this and the next mappings, a missing feature counts 0.
        collaborative: summed cosine co-occurrence with the recents, 0..
        popular: number of users who liked the item, 0..
        near: what the item models of the version say of the item after the recents.
        factors: what the odds are multiplied by; nothing for a missing one.
        exploration: the best of the items that few users met are given the evidence that items have on average that
            would be shown, so that the model's score decides about them.
    """
    ids, rows = list(item_ids), []
    weights = among(weights, [popular.get(item_id, 0.0) for item_id in ids])
    for item_id in ids:
        score, scores_near = mllm.get(item_id), near.get(item_id, _NOTHING)
        together, likes = collaborative.get(item_id, 0.0), popular.get(item_id, 0.0)
        features = blend_features(0.0 if score is None else logit(score), together, likes, scores_near)
        by = factors.get(item_id, _NO_FACTORS) if factors else _NO_FACTORS
        odds = blend(weights, features) + math.log(by.boost * by.rotation)
        rows.append((odds, Scored(item_id, sigmoid(odds), score, together, likes, *scores_near, *by)))
    if exploration.places:
        rows = _explored(rows, weights, exploration)
    # Odds come second: far out, where all scores round to 1, they still differ.
    rows.sort(key=lambda row: (-row[1].score, -row[0], -row[1].collaborative, -row[1].popular))
    return [scored for _, scored in rows]


def _explored(rows: list[tuple[float, Scored]], weights: Blend, exploration: Exploration) -> list[tuple[float, Scored]]:
    """Give the best items that few users met the mean evidence of what is shown, in shares of what they lack."""
    evidence = [_evidence(weights, one) for _, one in rows]
    known = [(odds, value) for value, (odds, one) in zip(evidence, rows, strict=True) if one.popular >= MET]
    shown = [value for _, value in sorted(known, reverse=True)[: exploration.shown]]
    if not shown:
        return rows
    mean = sum(shown) / len(shown)
    lacking = [
        (1.0 - one.popular / MET) * max(0.0, mean - value) if one.popular < MET and one.mllm is not None else 0.0
        for value, (_, one) in zip(evidence, rows, strict=True)
    ]
    places = sorted((place for place, value in enumerate(lacking) if value), key=lambda n: -rows[n][0] - lacking[n])
    found = list(rows)
    for place in places[: exploration.places]:
        odds, one = rows[place][0] + lacking[place], rows[place][1]
        found[place] = (odds, replace(one, score=sigmoid(odds), unmet=lacking[place]))
    return found


def _evidence(weights: Blend, one: Scored) -> float:
    """The part of the log-odds that comes from what other users did."""
    near = ItemScores(one.item_weights, one.item_vectors)
    return blend(weights, blend_features(0.0, one.collaborative, one.popular, near)) - weights.bias


def without_model(weights: Blend) -> Blend:
    """The weights for when the model's scores are missing: never without a weight for another feature."""
    if any(getattr(weights, name) > 0 for name in FEATURES if name != "mllm"):
        return weights
    return weights.model_copy(update={"collaborative": FALLBACK.collaborative, "popular": FALLBACK.popular})
