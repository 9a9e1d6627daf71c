"""Methods of retrieval. Each gives all items of the catalogue a score; -inf is an item that it can't find."""

from collections.abc import Callable, Collection, Sequence
from itertools import islice
from typing import Protocol

import numpy as np

from model_store.evaluate.baselines import Baseline
from model_store.evaluate.metrics import Floats
from model_store.evaluate.retrieval.cases import RetrievalCase
from model_store.evaluate.retrieval.vector_files import ItemRows
from model_store.evaluate.served import near
from model_store.retrieval.interests import InterestOptions, combined, interests

Retrieve = Callable[[Sequence[str], Collection[str]], Sequence[str]]
_OPTIONS = InterestOptions()


class Method(Protocol):
    """A fitted method."""

    def __call__(self, case: RetrievalCase) -> Floats:
        """A score of each item of the catalogue, in its order, higher is better; shape (items,)."""
        ...


class Random:
    """All items the same: what chance finds."""

    def __init__(self, items: Sequence[str]) -> None:
        self._scores = np.zeros(len(items))

    def __call__(self, case: RetrievalCase) -> Floats:
        return self._scores


class Scored:
    """A baseline that scores candidates."""

    def __init__(self, baseline: Baseline, items: Sequence[str]) -> None:
        self._baseline, self._items = baseline, items

    def __call__(self, case: RetrievalCase) -> Floats:
        return np.asarray(self._baseline.score(case.recents, self._items), dtype=np.float64)


class Retrieved:
    """A method of the service that lists what it finds.

    Args:
        retrieve: the item ids that it finds, best first, from a user's recents and from the items to be left out.
    """

    def __init__(self, retrieve: Retrieve, items: Sequence[str]) -> None:
        self._retrieve, self._places = retrieve, places_of(items)

    def __call__(self, case: RetrievalCase) -> Floats:
        return in_order(self._retrieve(near(case.history), case.seen), self._places)


class Embedded:
    """The items near to the user's interests, by vectors of items."""

    def __init__(self, rows: ItemRows, options: InterestOptions = _OPTIONS) -> None:
        self._rows, self._options = rows, options

    def __call__(self, case: RetrievalCase) -> Floats:
        # An item counts where it was met last, and as its user found it then.
        signs = {event.item_id: int(event.liked) - int(event.disliked) for event in case.history}
        recents = list(dict.fromkeys(event.item_id for event in reversed(case.history)))[::-1]
        known = [item for item in recents if self._rows.has(item)]
        scores = np.full(len(self._rows.known), -np.inf)
        found = interests(self._rows.of(known), [signs[item] for item in known], self._options)
        if len(found.weights):
            by_interest = found.vectors @ self._rows.vectors.T
            scores[self._rows.known] = combined(by_interest, found.weights)[self._rows.known]
        return scores


def places_of(items: Sequence[str]) -> dict[str, int]:
    """The place of each item of the catalogue."""
    return {item: place for place, item in enumerate(items)}


def in_order(ids: Sequence[str], places: dict[str, int]) -> Floats:
    """Scores of the whole catalogue, by which these items come in this order and others are not found."""
    scores = np.full(len(places), -np.inf)
    for rank, item in enumerate(ids):
        if item in places:
            scores[places[item]] = -rank
    return scores


def best(scores: Floats, items: Sequence[str], case: RetrievalCase, size: int) -> list[str]:
    """The ids of the `size` best items that were found and that the user has not seen, best first."""
    order = np.argsort(-scores, kind="stable")[: size + len(case.seen)]
    found = (items[place] for place in order if scores[place] > -np.inf)
    return list(islice((item for item in found if item not in case.seen), size))
