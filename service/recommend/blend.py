"""Ranking candidates by the MLLM's score and by what other users did. Pure arithmetic."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

from model_store.blend import FEATURES, Features, among, blend, blend_features, logit, sigmoid
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
    rows.sort(key=_place)
    if exploration.places:
        rows = sorted(_explored(rows, weights, exploration), key=_place)
    return [scored for _, scored in rows]


def typical(best_first: Iterable[Scored], shown: int) -> Features | None:
    """The mean features, without the model's, of the first `shown` items that users met; None without such an item."""
    met = [_features(one) for one in islice((one for one in best_first if one.popular >= MET), shown)]
    return Features(*(sum(column) / len(met) for column in zip(*met, strict=True))) if met else None


def lacking(weights: Blend, features: Features, likes: float, mean: Features) -> float:
    """What an item lacks of the evidence of `mean`: all of it without a like, and nothing from `MET` likes on.

    Args:
        weights: with the discount of popularity applied.
    """
    if likes >= MET:
        return 0.0
    return (1.0 - likes / MET) * max(0.0, _evidence(weights, mean) - _evidence(weights, features))


def _place(row: tuple[float, Scored]) -> tuple[float, ...]:
    # Odds come second: far out, where all scores round to 1, they still differ.
    return -row[1].score, -row[0], -row[1].collaborative, -row[1].popular


def _explored(rows: list[tuple[float, Scored]], weights: Blend, exploration: Exploration) -> list[tuple[float, Scored]]:
    """Give the best items that few users met the mean evidence of what is shown, in shares of what they lack."""
    mean = typical((one for _, one in rows), exploration.shown)
    if mean is None:
        return rows
    lacks = [0.0 if one.mllm is None else lacking(weights, _features(one), one.popular, mean) for _, one in rows]
    places = sorted((place for place, value in enumerate(lacks) if value), key=lambda n: -rows[n][0] - lacks[n])
    found = list(rows)
    for place in places[: exploration.places]:
        odds, one = rows[place][0] + lacks[place], rows[place][1]
        found[place] = (odds, replace(one, score=sigmoid(odds), unmet=lacks[place]))
    return found


def _features(one: Scored) -> Features:
    """What other users' behaviour says of an item, and nothing for the model."""
    return blend_features(0.0, one.collaborative, one.popular, ItemScores(one.item_weights, one.item_vectors))


def _evidence(weights: Blend, features: Features) -> float:
    """The part of the log-odds that comes from what other users did."""
    return blend(weights, features._replace(mllm=0.0)) - weights.bias


def without_model(weights: Blend) -> Blend:
    """The weights for when the model's scores are missing: never without a weight for another feature."""
    if any(getattr(weights, name) > 0 for name in FEATURES if name != "mllm"):
        return weights
    return weights.model_copy(update={"collaborative": FALLBACK.collaborative, "popular": FALLBACK.popular})
