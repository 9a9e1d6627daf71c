"""Candidates that a gateway finds in memory: by the vectors of items, and by the ranker's item models."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from model_store.item_models.item_models import ItemModels
from model_store.retrieval.interests import Interests, combined, interests
from model_store.retrieval.merge import alternating
from model_store.retrieval.shares import UNKNOWN_AMONG
from model_store.retrieval.vectors import Floats
from model_store.signals import Signals
from service.index.searcher import Searcher
from service.index.vector_index import VectorIndex
from service.state.records import Event

_SIGNS = {"positive": 1, "neutral": 0, "negative": -1}


@dataclass(frozen=True, slots=True)
class Personal:
    """What a gateway finds in memory for one user.

    Args:
        known: items that the recents speak for most by the ranker's item models, best first.
        embedded: items near to the recents by their vectors, best first. If there are known ones, only items that the
            item models don't know: those that they know, they find better.
        index, interests: None without vectors of recents.
    """

    known: Sequence[str] = ()
    embedded: Sequence[str] = ()
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
        return alternating(best, ids)


async def find_in_memory(
    index: VectorIndex | None,
    searcher: Searcher,
    models: ItemModels,
    recents: Sequence[Event],
    near: Sequence[str],
    signals: Signals,
    count: int,
    avoided: Collection[str],
) -> Personal:
    """At most `count` items of each kind, without those to avoid.

    Args:
        index: None without vectors.
        searcher: searches in threads.
        models: those of the version that ranks.
        recents: the user's events, oldest first.
        near: the items of them that were not disliked.
    """
    known: Sequence[str] = ()
    if near and models.present():
        known = await searcher.run(lambda: models.nearest(near, count, avoided))
    if index is None:
        return Personal(known)
    interests = interests_of(index, recents, signals)
    if not len(interests.weights):
        return Personal(known)
    among = UNKNOWN_AMONG * count if known else count
    embedded = await near_interests(searcher, index, interests, among, avoided)
    if known:
        embedded = [item for item in embedded if item not in models.known][:count]
    return Personal(known, embedded, index, interests)


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
