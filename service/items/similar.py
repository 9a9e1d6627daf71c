"""Items that were liked by the same users."""

from service.items.schemas import SimilarItem, SimilarItems
from service.state.cooccurrence import cosines, named, nearest
from service.state.store import Store


async def similar(store: Store, item_id: str, k: int) -> SimilarItems | None:
    """The `k` items of the catalogue nearest to this one by co-occurrence, best first; None for an unknown item.

    Raises:
        StateUnavailable: the store can't be read.
    """
    wave = store.wave()
    item, lists = wave.add(store.items.reading([item_id])), wave.add(store.cooccurrence.lists([item_id]))
    await wave.send()
    if not item.value():
        return None
    together, wave = lists.value(), store.wave()
    counted = wave.add(store.cooccurrence.counts(named(together)))
    await wave.send()
    counts = counted.value()
    best = nearest(together, counts, {item_id})
    found: list[SimilarItem] = []
    for start in range(0, len(best), k):
        looked = best[start : start + k]
        wave = store.wave()
        items, pairs = wave.add(store.items.reading(looked)), wave.add(store.cooccurrence.pairs([item_id], looked))
        await wave.send()
        known, scores = items.value(), cosines(pairs.value(), counts)
        found += [SimilarItem(one, known[one].title, scores[one]) for one in looked if one in known]
        if len(found) >= k:
            break
    return SimilarItems(item_id, found[:k])
