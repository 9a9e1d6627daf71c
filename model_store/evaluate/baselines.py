"""What any recommender has to beat: popularity and item-based nearest neighbours."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from model_store.data.dataset import Dataset
from model_store.evaluate.cooccurrence import Cooccurrence
from model_store.evaluate.metrics import Counts, Floats
from model_store.evaluate.protocol import EvaluationCase, liked_by

POPULARITY, ITEM_KNN = "popularity", "ItemKNN"
TIE = 1e-9
"""Weight of popularity among candidates that no neighbour tells apart."""


class Baseline(Protocol):
    def score(self, recents: Sequence[str], candidates: Sequence[str]) -> list[float]:
        """One score per candidate, higher is better. `recents`: item ids, oldest first."""
        ...


class Popularity:
    """How many train users liked the candidate."""

    def __init__(self, likes: Cooccurrence) -> None:
        self._likes = likes

    def score(self, recents: Sequence[str], candidates: Sequence[str]) -> list[float]:
        return [float(self._likes.counts[place]) if place >= 0 else 0.0 for place in _places(self._likes, candidates)]


class ItemKNN:
    """Summed cosine of the candidate with the recents (Sarwar et al., WWW 2001), ties broken by popularity.

    `neighbours` keeps only the most similar items of each candidate; None, the default, keeps all.
    """

    def __init__(self, likes: Cooccurrence, neighbours: int | None = None) -> None:
        self._likes = likes
        self._neighbours = neighbours
        self._popularity = Popularity(likes)
        self._rows: dict[int, tuple[Counts, Floats]] = {}

    def score(self, recents: Sequence[str], candidates: Sequence[str]) -> list[float]:
        known = np.array([place for place in _places(self._likes, recents) if place >= 0], dtype=np.int64)
        popularity = self._popularity.score(recents, candidates)
        places = _places(self._likes, candidates)
        return [
            self._similarity(place, known) + TIE * popular for place, popular in zip(places, popularity, strict=True)
        ]

    def _similarity(self, place: int, recents: Counts) -> float:
        if place < 0:
            return 0.0
        others, cosines = self._row(place)
        return float(cosines[np.isin(others, recents)].sum())

    def _row(self, place: int) -> tuple[Counts, Floats]:
        if place not in self._rows:
            others, users = self._likes.row(place)
            cosines: Floats = users / np.sqrt(self._likes.counts[others] * self._likes.counts[place])
            if self._neighbours is not None and len(others) > self._neighbours:
                kept = np.sort(np.argsort(-cosines, kind="stable")[: self._neighbours])
                others, cosines = others[kept], cosines[kept]
            self._rows[place] = others, cosines
        return self._rows[place]


def baseline_scores(dataset: Dataset, cases: Iterable[EvaluationCase]) -> dict[str, list[list[float]]]:
    """Scores of both baselines, counted on the train users, for each case's candidates."""
    likes = Cooccurrence(liked_by(dataset, "train"))
    methods: dict[str, Baseline] = {POPULARITY: Popularity(likes), ITEM_KNN: ItemKNN(likes)}
    scores: dict[str, list[list[float]]] = {name: [] for name in methods}
    for case in cases:
        for name, method in methods.items():
            scores[name].append(method.score(case.recents, case.candidates))
    return scores


def _places(likes: Cooccurrence, items: Iterable[str]) -> list[int]:
    return [likes.places.get(item, -1) for item in items]
