"""Candidates that are found without Redis: by the vectors of items, and by the ranker's item models."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from model_store.item_models.item_models import ItemModels
from model_store.retrieval.interests import Interests, combined, interests
from model_store.retrieval.merge import alternating
from model_store.retrieval.shares import UNKNOWN_AMONG
from model_store.signals import Signals
from service.index.rows import Rows
from service.index.searcher import Searcher
from service.index.vector_index import Found, IndexUnavailable, VectorIndex
from service.recommend.deadline import Deadline
from service.state.records import Event

_SIGNS = {"positive": 1, "neutral": 0, "negative": -1}


@dataclass(frozen=True, slots=True)
class Personal:
    """What is found for one user.

    Args:
        known: items that the recents speak for most by the ranker's item models, best first.
        embedded: items near to the recents by their vectors, best first. If there are known ones, only items that the
            item models don't know: those that they know, they find better.
        new: the new items; with vectors, those that fit the user best in turn with the others.
        vectors_unavailable: the vectors could not be read.
    """

    known: Sequence[str] = ()
    embedded: Sequence[str] = ()
    new: Sequence[str] = ()
    vectors_unavailable: bool = False


async def find_in_memory(
    index: VectorIndex | None,
    searcher: Searcher,
    models: ItemModels,
    recents: Sequence[Event],
    near: Sequence[str],
    new: Sequence[str],
    signals: Signals,
    count: int,
    avoided: Collection[str],
    deadline: Deadline,
) -> Personal:
    """At most `count` items of each kind, without those to avoid, and the new items in the order of the user.

    Args:
        index: None without vectors.
        searcher: searches in threads.
        models: those of the version that ranks.
        recents: the user's events, oldest first.
        near: the items of them that were not disliked.
        new: new items; each once.
    """
    known: Sequence[str] = ()
    if near and models.present():
        known = await searcher.run(lambda: models.nearest(near, count, avoided))
    if index is None or not recents:
        return Personal(known, new=new)
    among = UNKNOWN_AMONG * count if known else count
    budget = deadline.for_index()
    try:
        rows = await searcher.rows(index, [*(event.item_id for event in recents), *new], budget.remaining_s())
        interests = interests_of(rows, recents, signals)
        if not len(interests.weights):
            return Personal(known, new=new)
        embedded = await near_interests(searcher, index, interests, among, avoided, budget)
    except IndexUnavailable:
        return Personal(known, new=new, vectors_unavailable=True)
    if known:
        embedded = [item for item in embedded if item not in models.known][:count]
    return Personal(known, embedded, alternating(by_fit(interests, rows, new), new))


async def near_interests(
    searcher: Searcher, index: VectorIndex, found: Interests, count: int, exclude: Collection[str], budget: Deadline
) -> list[str]:
    """The `count` items that fit interests best, without those in `exclude`.

    Raises:
        IndexUnavailable: the index does not answer before `budget` is over.
    """

    def search() -> list[Found]:
        return searcher.search(index, found.vectors, count, exclude)

    near = await searcher.read(index, search, budget.remaining_s())
    pool = list(dict.fromkeys(item for one in near for item in one.ids))
    return by_fit(found, await searcher.rows(index, pool, budget.remaining_s()), pool)[:count]


def by_fit(found: Interests, rows: Rows, ids: Sequence[str]) -> list[str]:
    """Those of the items that have a vector, sorted by how well they fit interests, best first."""
    known = [item for item in ids if item in rows.places]
    scores = combined(found.vectors @ rows.of(known)[0].T, found.weights)
    return [known[place] for place in np.argsort(-scores, kind="stable")]


def interests_of(rows: Rows, recents: Sequence[Event], signals: Signals) -> Interests:
    """The interests of a user, from the items that have a vector; the last event of each says whether it is liked."""
    signs = {event.item_id: _SIGNS[signals(event.type, event.value)] for event in recents}
    # In the order of the last event of each.
    ids = list(dict.fromkeys(event.item_id for event in reversed(recents)))[::-1]
    vectors, known = rows.of(ids)
    return interests(vectors[known], np.array([signs[item] for item in ids], dtype=np.int64)[known])
