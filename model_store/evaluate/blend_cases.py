"""The cases on which a blend is fitted: liked items of users, among the kinds of candidates that callers send."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, get_args

from model_store.blend import Features, blend_features
from model_store.cooccurrence import Cooccurrence
from model_store.data.dataset import Dataset, Interaction, Split
from model_store.data.targets import target_positions
from model_store.evaluate.blend import BlendCases, Column
from model_store.evaluate.protocol import EvaluationCase
from model_store.evaluate.served import near
from model_store.item_models.item_models import ItemModels

Kind = Literal["popular", "uniform", "retrieved"]
"""Negatives that are drawn by popularity, from the whole catalogue, or from what the service would have retrieved."""
KINDS: tuple[Kind, ...] = get_args(Kind)
HISTORY, NEGATIVES = 50, 12
RETRIEVED = 200
_DRAWN = 10 * NEGATIVES


@dataclass(frozen=True, slots=True)
class MixedCase:
    """One case among negatives of every kind; `negatives` has those of each kind, none if there are too few."""

    case: EvaluationCase
    negatives: Mapping[Kind, Sequence[str]]


def mixed_cases(
    dataset: Dataset,
    cooccurrence: Cooccurrence,
    seed: int,
    *,
    split: Split = "validation",
    count: int = 600,
    per_user: int = 5,
) -> list[MixedCase]:
    """Up to `per_user` liked items, new to the user, of each user of the split, in a random order; `count` in all.

    A target has negatives of the kind `retrieved` only if the service would have retrieved it as well. Otherwise no
    answer could hold it, and co-occurrence would tell the target by its absence.
    """
    rng = random.Random(f"{split} {seed}")
    users = dataset.users(split)
    rng.shuffle(users)
    draw = _Negatives(dataset, cooccurrence, rng)
    cases: list[MixedCase] = []
    for user in users:
        events = dataset.histories[user]
        liked = target_positions(events, dataset.items)
        for place in sorted(rng.sample(liked, min(per_user, len(liked)))):
            past, target = events[max(0, place - HISTORY) : place], events[place].item_id
            negatives = draw(past, target, {event.item_id for event in events})
            candidates = list(dict.fromkeys([target, *(one for own in negatives.values() for one in own)]))
            if len(candidates) > 1:
                rng.shuffle(candidates)
                cases.append(MixedCase(EvaluationCase(user, past, target, tuple(candidates), place), negatives))
        if len(cases) >= count:
            break
    return cases[:count]


class _Negatives:
    """Draws items of the catalogue that the user never met. The counts may come from another one."""

    def __init__(self, dataset: Dataset, cooccurrence: Cooccurrence, rng: random.Random) -> None:
        self._cooccurrence = cooccurrence
        self._rng = rng
        self._items = list(dataset.items)
        self._known = dataset.items.keys()
        liked = {item: count for item, count in cooccurrence.counts.items() if item in self._known}
        self._liked = list(liked)
        self._weights = list(accumulate(liked.values()))

    def __call__(self, past: Sequence[Interaction], target: str, met: set[str]) -> dict[Kind, list[str]]:
        return {kind: self._choose(self._drawn(kind, past, target, met), met) for kind in KINDS}

    def _drawn(self, kind: Kind, past: Sequence[Interaction], target: str, met: set[str]) -> list[str]:
        if kind == "uniform":
            return self._rng.choices(self._items, k=_DRAWN)
        if kind == "popular":
            return self._rng.choices(self._liked, cum_weights=self._weights, k=_DRAWN) if self._liked else []
        found = self._cooccurrence.retrieve(near(past), met - {target}, RETRIEVED)
        self._rng.shuffle(found)
        return found if target in found else []

    def _choose(self, drawn: Sequence[str], met: set[str]) -> list[str]:
        distinct = dict.fromkeys(item for item in drawn if item not in met and item in self._known)
        return list(distinct)[:NEGATIVES]


def make_boards(
    cases: Sequence[MixedCase], cooccurrence: Cooccurrence, item_models: ItemModels, mllm: Column
) -> dict[Kind, BlendCases]:
    """The features of the cases, by the kind of their negatives; kinds without a case are left out.

    Args:
        mllm: per case the model's logits of its candidates.
    """
    boards = {}
    for kind in KINDS:
        rows = [
            _features(mixed, kind, cooccurrence, item_models, scores)
            for mixed, scores in zip(cases, mllm, strict=True)
            if mixed.negatives[kind]
        ]
        if rows:
            boards[kind] = BlendCases.of_features(rows, [0] * len(rows))
    return boards


def _features(
    mixed: MixedCase, kind: Kind, cooccurrence: Cooccurrence, item_models: ItemModels, scores: Sequence[float]
) -> list[Features]:
    """Those of the target, then of its negatives of this kind."""
    shown = [mixed.case.target, *mixed.negatives[kind]]
    logits = dict(zip(mixed.case.candidates, scores, strict=True))
    recents = near(mixed.case.history)
    columns = zip(shown, cooccurrence.collaborative(recents, shown), item_models.score(recents, shown), strict=True)
    return [
        blend_features(logits[item], together, cooccurrence.counts.get(item, 0), scores_near)
        for item, together, scores_near in columns
    ]
