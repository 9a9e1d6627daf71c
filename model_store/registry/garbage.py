"""Versions that nothing needs any more."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath

from model_store.item_models.item_models import ITEM_MODELS
from model_store.registry.manifest import Manifest
from model_store.registry.registry import Registry


@dataclass(frozen=True, slots=True)
class Unused:
    """A version that may be removed, and its bytes."""

    manifest: Manifest
    size: int


def unused(registry: Registry, older_than: timedelta, now: datetime | None = None) -> list[Unused]:
    """The versions that are older than this and that nothing needs.

    Kept are: what an alias names or can be rolled back to, the newest version of each name, those whose weights,
    co-occurrence counts or item models another kept version shares, and those whose age is unknown.
    """
    now = now or datetime.now(UTC)
    manifests = registry.list()
    removable = {
        manifest.id: manifest
        for manifest in manifests
        if manifest.created is not None
        and now - manifest.created > older_than
        and manifest.version != registry.versions(manifest.name)[-1]
        and manifest.version not in registry.standing(manifest.name)
    }
    # Removing one may free another: repeat until nothing changes.
    while True:
        needed = {owner for one in manifests if one.id not in removable for owner in _owners(one)}
        still = {name: manifest for name, manifest in removable.items() if name not in needed}
        if len(still) == len(removable):
            break
        removable = still
    return [Unused(one, registry.size(one)) for one in removable.values()]


def _owners(manifest: Manifest) -> set[str]:
    """The versions in whose folders files of this one are."""
    owners = set()
    for path in (manifest.weights, manifest.cooccurrence, *(getattr(manifest, name) for name in ITEM_MODELS)):
        parts = PurePosixPath(path).parts
        if len(parts) > 1:
            owners.add(f"{parts[0]}@{parts[1]}")
    return owners - {manifest.id}
