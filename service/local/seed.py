"""Giving a new store the collaborative evidence that a model version was trained with."""

from model_store.evaluate.evidence import read_evidence
from model_store.registry.manifest import Manifest
from model_store.registry.registry import Registry
from service.settings import Settings
from service.state.store import Store


async def seed_evidence(settings: Settings, registry: Registry, manifest: Manifest) -> int:
    """Add the version's item counts and co-occurrence to the store, once per version.

    Returns:
        How many items were taken over; 0 when the version has no evidence or was seeded before.

    Raises:
        EvidenceError: the version's evidence file is malformed.
    """
    path = registry.evidence(manifest)
    if path is None:
        return 0
    evidence = read_evidence(path)
    store = await Store.connect(settings)
    try:
        fresh = await store.evidence.seed(manifest.evidence, evidence.counts.items(), evidence.pairs())
    finally:
        await store.close()
    return len(evidence.counts) if fresh else 0
