"""A store gets the co-occurrence counts of its model version once."""

from model_store.demo import ITEMS, MODELS
from model_store.registry.registry import Registry
from service.local.up import seed_cooccurrence
from service.settings import Settings


async def test_the_counts_of_a_version_are_added_once(redis_url: str) -> None:
    settings, registry = Settings(redis_url=redis_url), Registry(MODELS)
    ranker, summarizer = registry.get("demo-ranker"), registry.get("demo-summarizer")
    assert await seed_cooccurrence(settings, registry, ranker) == ITEMS
    assert await seed_cooccurrence(settings, registry, ranker) == 0
    assert await seed_cooccurrence(settings, registry, summarizer) == 0
