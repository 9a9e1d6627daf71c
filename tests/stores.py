"""Reads of a store in forms that only tests need."""

from collections.abc import Mapping, Sequence

from service.state.records import DeadLetter
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


async def cached_scores(store: Store, user_id: str, cache_key: str, revisions: Mapping[str, int]) -> dict[str, float]:
    """The cached scores of the items for this cache key and these revisions."""
    wave = store.wave()
    scores = wave.add(store.scores.reading(user_id))
    await wave.send()
    return scores.value()(cache_key, revisions)
