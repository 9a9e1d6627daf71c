"""Candidates that a gateway finds in memory: by the vectors of items, and by the ranker's item weights."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

import numpy as np

from model_store.item_models.item_weights import ItemWeights
from model_store.retrieval.interests import Interests, combined, interests
from model_store.retrieval.vectors import Floats
from model_store.signals import Signals
from service.index.current import Vectors
from service.index.searcher import Searcher
from service.index.vector_index import VectorIndex
from service.recommend.retrieval.stages import Stage
from service.recommend.schemas import SourceName
from service.state.reads import Wave
from service.state.records import Event

_SIGNS = {"positive": 1, "neutral": 0, "negative": -1}


class Named(Stage):
    """Items that were found in memory before."""

    def __init__(self, name: SourceName, ids: Sequence[str], places: int | None) -> None:
        super().__init__(places)
        self.name = name
        self.ids.extend(ids)
        self.done = True

    def ask(self, wave: Wave) -> None:
        """There is nothing to read."""

    def take(self) -> None:
        """There is nothing to read."""


@dataclass(frozen=True, slots=True)
class Personal:
    """What a gateway finds in memory for one user.

    Args:
        embedded: items near to the recents by their vectors, best first.
        weighted: items that the recents speak for most by the ranker's item weights, best first.
        index, interests: None without vectors of recents.
    """

    embedded: Sequence[str] = ()
    weighted: Sequence[str] = ()
    index: VectorIndex | None = None
    interests: Interests | None = None

    def fitting(self, ids: Sequence[str]) -> list[str]:
        """The items, those that fit the user best in turn with the others in their order; each once."""
        if self.index is None or self.interests is None:
            return list(ids)
        rows, known = self.index.rows(ids)
        scores = combined(self.interests.vectors @ rows.T, self.interests.weights)
        scores[~known] = -np.inf
        best = [ids[place] for place in np.argsort(-scores, kind="stable") if known[place]]
        turns = chain.from_iterable(zip_longest(best, ids))
        return list(dict.fromkeys(item for item in turns if item is not None))


async def find_in_memory(
    vectors: Vectors,
    weights: ItemWeights | None,
    recents: Sequence[Event],
    near: Sequence[str],
    signals: Signals,
    count: int,
    avoided: Collection[str],
) -> Personal:
    """At most `count` items of each kind, without those to avoid.

    Args:
        recents: the user's events, oldest first.
        near: the items of them that were not disliked.
    """
    weighted = weights.nearest(near, count, avoided) if weights is not None else []
    index = vectors.current()
    if index is None:
        return Personal((), weighted)
    interests = interests_of(index, recents, signals)
    if not len(interests.weights):
        return Personal((), weighted)
    embedded = await near_interests(vectors.searcher, index, interests, count, avoided)
    return Personal(embedded, weighted, index, interests)


async def near_interests(
    searcher: Searcher, index: VectorIndex, found: Interests, count: int, exclude: Collection[str]
) -> list[str]:
    """The `count` items that fit interests best, without those in `exclude`."""
    near = await searcher.search(index, found.vectors, count, excluded=exclude)
    pool = list(dict.fromkeys(item for one in near for item in one.ids))
    rows, known = index.rows(pool)
    scores: Floats = combined(found.vectors @ rows.T, found.weights)
    # An item may have been removed meanwhile.
    scores[~known] = -np.inf
    return [pool[place] for place in np.argsort(-scores, kind="stable")[:count]]


def interests_of(index: VectorIndex, recents: Sequence[Event], signals: Signals) -> Interests:
    """The interests of a user, from the items that the index has; the last event of each says whether it is liked."""
    signs = {event.item_id: _SIGNS[signals(event.type, event.value)] for event in recents}
    # In the order of the last event of each.
    ids = list(dict.fromkeys(event.item_id for event in reversed(recents)))[::-1]
    rows, known = index.rows(ids)
    return interests(rows[known], np.array([signs[item] for item in ids], dtype=np.int64)[known])
