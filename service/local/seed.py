"""Fill a new store with the co-occurrence counts that a model version was trained with."""

from model_store.cooccurrence import read_cooccurrence
from model_store.registry.manifest import Manifest
from model_store.registry.registry import Registry
from service.settings import Settings
from service.state.store import Store


async def seed_cooccurrence(settings: Settings, registry: Registry, manifest: Manifest) -> int:
    """Add the version's counts to the store, once per version.

    Returns:
        The number of items added; 0 if the version has no counts or they were added before.

    Raises:
        CooccurrenceError: the version's co-occurrence file is malformed.
    """
    path = registry.cooccurrence(manifest)
    if path is None:
        return 0
    cooccurrence = read_cooccurrence(path)
    store = Store.open(settings)
    try:
        fresh = await store.cooccurrence.seed(manifest.cooccurrence, cooccurrence.counts.items(), cooccurrence.pairs())
    finally:
        await store.close()
    return len(cooccurrence.counts) if fresh else 0
