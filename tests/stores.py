"""Reads of a store in forms that only tests need."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from service.state.cooccurrence import cosines, named, nearest
from service.state.records import DeadLetter, Item
from service.state.store import Store


async def dead_letters(store: Store) -> list[DeadLetter]:
    """All dead letters, oldest first."""
    return [letter async for letter in store.dead_letters.read()]


async def popularity(store: Store, items: Sequence[str]) -> Mapping[str, float]:
    """How many users liked each of the items."""
    wave = store.wave()
    counts = wave.add(store.cooccurrence.counts(items))
    await wave.send()
    return counts.value().popular


async def collaborative(store: Store, recent: Sequence[str], candidates: Sequence[str]) -> dict[str, float]:
    """For each candidate, the sum of its cosines with the distinct `recent` items."""
    wave = store.wave()
    together = wave.add(store.cooccurrence.pairs(recent, candidates))
    counts = wave.add(store.cooccurrence.counts([*recent, *candidates]))
    await wave.send()
    return cosines(together.value(), counts.value())


async def neighbours_of(store: Store, item: str, k: int) -> list[str]:
    """The `k` items of the catalogue that are most similar to this one, best first."""
    wave = store.wave()
    lists = wave.add(store.cooccurrence.lists([item]))
    await wave.send()
    together = lists.value()
    wave = store.wave()
    counts = wave.add(store.cooccurrence.counts(named(together)))
    await wave.send()
    best = nearest(together, counts.value(), {item})
    known = await store.items.known(best)
    return [other for other in best if other in known][:k]


async def cached_scores(store: Store, user_id: str, cache_key: str, revisions: Mapping[str, int]) -> dict[str, float]:
    """The cached scores of the items for this cache key and these revisions."""
    wave = store.wave()
    scores = wave.add(store.scores.reading(user_id))
    await wave.send()
    return scores.value()(cache_key, revisions)


async def embed(store: Store, vectors: Callable[[Item], Mapping[str, Sequence[float]]]) -> int:
    """Write vectors, by index, for every item that waits for some; returns how many items those are."""
    queue, number = store.embedding_queue, 0
    assert queue is not None
    while claims := await queue.claim(500):
        number += len(claims)
        for claim in claims:
            made = {index: np.array(one, dtype=np.float16).tobytes() for index, one in vectors(claim.item).items()}
            assert await queue.commit(claim, made)
    return number
