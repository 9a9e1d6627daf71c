"""Items like another one: liked by the same users, or with a similar vector."""

from collections.abc import Mapping, Sequence

from service.index.current import Vectors
from service.index.repeats import repeats
from service.index.rows import NO_ROWS, Rows
from service.index.searcher import Searcher
from service.index.vector_index import IndexUnavailable, VectorIndex
from service.items.schemas import SimilarItem, SimilarItems, SimilarSource, SimilarWarning
from service.state.cooccurrence import cosines, named, nearest
from service.state.store import Store

_LOOKED_AT = 100
"""Neighbours of each kind that are considered."""
_WITHIN_S = 2.0
"""The time that the index may take."""
NO_VECTOR = SimilarWarning(
    "no_vector",
    "the item has no vector: it waits for one, or could not be embedded; only likes of users were compared",
)
VECTORS_UNAVAILABLE = SimilarWarning(
    "vectors_unavailable", "the vectors of items could not be read in time: only likes of users were compared"
)


async def similar(
    store: Store, vectors: Vectors, item_id: str, k: int, pivot: float = 20.0, same_at: float = 0.995
) -> SimilarItems | None:
    """The `k` items of the catalogue most like this one, best first; None for an unknown item.

    The score is w * c + (1 - w) * v with w = n / (n + pivot): c is the cosine of co-occurrence, as a share of that of
    the nearest item, v the cosine of the vectors, and n how many users like the item. What few have liked is found by
    what it is.

    Raises:
        StateUnavailable: the store can't be read.
    """
    index, wave = vectors.current(), store.wave()
    item, lists = wave.add(store.items.reading([item_id])), wave.add(store.cooccurrence.lists([item_id]))
    await wave.send()
    if not item.value():
        return None
    together, wave = lists.value(), store.wave()
    counted = wave.add(store.cooccurrence.counts([item_id, *named(together)]))
    await wave.send()
    counts = counted.value()
    liked = nearest(together, counts, {item_id})[:_LOOKED_AT]
    rows, warnings = await _rows(index, vectors.searcher, item_id, liked)
    seen = _cosines(rows, item_id)
    wave = store.wave()
    looked = list(dict.fromkeys([*liked, *seen]))
    items, pairs = wave.add(store.items.reading(looked)), wave.add(store.cooccurrence.pairs([item_id], liked))
    await wave.send()
    known, together_scores = items.value(), cosines(pairs.value(), counts)
    weight = _weight(counts.of(item_id), pivot, bool(seen))
    found = [
        SimilarItem(one, known[one].title, score, _source(one, together_scores, seen))
        for one, score in _blended(together_scores, seen, weight).items()
        if one in known and score > 0
    ]
    found.sort(key=lambda one: -one.score)
    return SimilarItems(item_id, _distinct(found, rows, same_at)[:k], warnings)


def _weight(likes: float, pivot: float, vectors: bool) -> float:
    """The share of co-occurrence in the score."""
    if not vectors:
        return 1.0
    return likes / (likes + pivot) if likes + pivot > 0 else 0.0


async def _rows(
    index: VectorIndex | None, searcher: Searcher, item_id: str, others: Sequence[str]
) -> tuple[Rows, list[SimilarWarning]]:
    """The vectors of the item, of those nearest to it and of `others`, and what is missing."""
    if index is None:
        return NO_ROWS, []

    def read() -> Rows:
        query, known = index.rows([item_id])
        near = searcher.search(index, query, _LOOKED_AT, {item_id})[0].ids if known[0] else []
        return Rows.read(index, [item_id, *near, *others])

    try:
        rows = await searcher.read(index, read, _WITHIN_S)
    except IndexUnavailable:
        return NO_ROWS, [VECTORS_UNAVAILABLE]
    return rows, [] if item_id in rows.places else [NO_VECTOR]


def _cosines(rows: Rows, item_id: str) -> dict[str, float]:
    """How alike to an item the others are by their vectors; nothing if it has none."""
    if item_id not in rows.places:
        return {}
    others = [one for one in rows.places if one != item_id]
    cosines = rows.of(others)[0] @ rows.of([item_id])[0][0]
    return dict(zip(others, cosines.tolist(), strict=True))


def _blended(together: Mapping[str, float], seen: Mapping[str, float], weight: float) -> dict[str, float]:
    # Without vectors, scores are cosines of co-occurrence themselves.
    most = max(together.values(), default=0.0) if seen else 1.0
    shares = {one: value / most for one, value in together.items()} if most > 0 else {}
    return {
        one: weight * shares.get(one, 0.0) + (1 - weight) * max(0.0, seen.get(one, 0.0))
        for one in dict.fromkeys([*together, *seen])
    }


def _source(item: str, together: Mapping[str, float], seen: Mapping[str, float]) -> SimilarSource:
    if together.get(item, 0.0) > 0:
        return "both" if seen.get(item, 0.0) > 0 else "cooccurrence"
    return "embedding"


def _distinct(found: list[SimilarItem], rows: Rows, same_at: float) -> list[SimilarItem]:
    """Without items that are nearly the same as a better one."""
    again = repeats(*rows.of([one.item_id for one in found]), same_at)
    return [one for one, repeated in zip(found, again, strict=True) if not repeated]
