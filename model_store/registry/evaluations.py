"""Evaluations in the store: `<name>/<version>/evaluations/<title>/`. They are no part of the immutable version."""

from collections.abc import Mapping
from pathlib import Path

from model_store.registry.files import StoreFiles
from model_store.registry.manifest import Manifest
from model_store.registry.registry import CACHE

EVALUATIONS = "evaluations"
REPORT = "report.json"
"""Written last: a folder without it is no evaluation."""


class Evaluations:
    """The evaluations of the versions in one store.

    Args:
        root: the store's folder or fsspec URL.
    """

    def __init__(self, root: str | Path) -> None:
        self._files = StoreFiles(root, CACHE)
        self._root = str(root).rstrip("/")

    def add(self, manifest: Manifest, title: str, files: Mapping[str, bytes]) -> str:
        """Write an evaluation's files, by their paths within it, and return where it is."""
        where = f"{_folder(manifest)}/{title}"
        for path in sorted(files, key=lambda path: path == REPORT):
            self._files.write(f"{where}/{path}", files[path])
        return f"{self._root}/{where}"

    def titles(self, manifest: Manifest) -> list[str]:
        """All evaluations of a version, sorted."""
        folder = _folder(manifest)
        return [title for title in self._files.folders(folder) if self._files.exists(f"{folder}/{title}/{REPORT}")]

    def read(self, manifest: Manifest, title: str) -> bytes:
        """The `report.json` of an evaluation."""
        return self._files.read(f"{_folder(manifest)}/{title}/{REPORT}")


def _folder(manifest: Manifest) -> str:
    return f"{manifest.name}/{manifest.version}/{EVALUATIONS}"
