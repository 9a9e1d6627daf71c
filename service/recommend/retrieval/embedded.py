"""Candidates by the vectors of items: near to what the user liked lately, also those that nobody has met."""

from collections.abc import Collection, Sequence

import numpy as np

from model_store.retrieval.interests import Interests, combined, interests
from model_store.retrieval.vectors import Floats
from model_store.signals import Signals
from service.index.searcher import Searcher
from service.index.vector_index import VectorIndex
from service.recommend.retrieval.stages import Stage
from service.state.reads import Wave
from service.state.records import Event

_SIGNS = {"positive": 1, "neutral": 0, "negative": -1}


class Embedding(Stage):
    """Items that were found in the index."""

    name = "embedding"

    def __init__(self, ids: Sequence[str], places: int | None) -> None:
        super().__init__(places)
        self.ids.extend(ids)
        self.done = True

    def ask(self, wave: Wave) -> None:
        """There is nothing to read."""

    def take(self) -> None:
        """There is nothing to read."""


async def near_recents(
    searcher: Searcher,
    index: VectorIndex,
    recents: Sequence[Event],
    signals: Signals,
    count: int,
    exclude: Collection[str],
) -> list[str]:
    """The `count` items that fit a user best, without those in `exclude`; none for a user without recents.

    Args:
        recents: the user's events, oldest first.
    """
    found = interests_of(index, recents, signals)
    if not len(found.weights):
        return []
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
