"""The baselines that any recommender must beat: popularity, item-based neighbours, EASE and sequential models."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from sklearn.preprocessing import normalize

from model_store.data.dataset import Dataset
from model_store.evaluate.ease import Ease
from model_store.evaluate.likes import TIE, Likes
from model_store.evaluate.protocol import EvaluationCase, liked_by
from model_store.evaluate.sequential import SEQUENTIAL

POPULARITY, ITEM_KNN, EASE = "popularity", "ItemKNN", "EASE"
BASELINES = (POPULARITY, ITEM_KNN, EASE, *SEQUENTIAL)


class Baseline(Protocol):
    """A fitted method."""

    def score(self, recents: Sequence[str], candidates: Sequence[str]) -> list[float]:
        """One score per candidate, higher is better. `recents`: item ids, oldest first."""
        ...


class Popularity:
    """How many training users liked the candidate."""

    def __init__(self, likes: Likes) -> None:
        self._likes = likes

    def score(self, recents: Sequence[str], candidates: Sequence[str]) -> list[float]:
        """One score per candidate, higher is better. `recents`: item ids, oldest first."""
        return [float(count) for count in self._likes.counts[self._likes.columns(candidates)]]


class ItemKNN:
    """Summed cosine of the candidate with the distinct recents (Sarwar et al., WWW 2001), ties broken by popularity.

    All items count as neighbours. Candidates must not be among the recents.
    """

    def __init__(self, likes: Likes) -> None:
        self._likes = likes
        self._items = normalize(likes.matrix.astype(float), axis=0).T.tocsr()

    def score(self, recents: Sequence[str], candidates: Sequence[str]) -> list[float]:
        near, columns = self._likes.columns(dict.fromkeys(recents)), self._likes.columns(candidates)
        similarity = self._items[columns] @ self._items[near].sum(axis=0)
        return [float(score) for score in similarity + TIE * self._likes.counts[columns]]


def baseline_scores(dataset: Dataset, cases: Iterable[EvaluationCase]) -> dict[str, list[list[float]]]:
    """Scores of all baselines for each case's candidates, learned from the training users."""
    likes = Likes(liked_by(dataset, "train"))
    methods = fit_simple((POPULARITY, ITEM_KNN, EASE), likes)
    return {name: [method.score(case.recents, case.candidates) for case in cases] for name, method in methods.items()}


def fit_simple(names: Sequence[str], likes: Likes) -> dict[str, Baseline]:
    """Fit those of `BASELINES` that are not sequential.

    Raises:
        EaseMemoryError: not enough memory.
    """
    methods: dict[str, Callable[[Likes], Baseline]] = {POPULARITY: Popularity, ITEM_KNN: ItemKNN, EASE: Ease}
    return {name: methods[name](likes) for name in names}
