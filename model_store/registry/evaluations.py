"""Evaluations in the store: `<name>/<version>/evaluations/<title>/`. They are no part of the immutable version."""

import json
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from model_store.registry.files import CACHE, StoreFiles
from model_store.registry.manifest import Manifest, ManifestError

EVALUATIONS = "evaluations"
REPORT = "report.json"
"""Written last: a folder without it is no evaluation."""
_TRIAL = ".writable"


class Evaluations:
    """The evaluations of the versions in one store.

    Args:
        root: the store's folder or fsspec URL.
    """

    def __init__(self, root: str | Path) -> None:
        self._files = StoreFiles(root, CACHE)
        self._root = str(root).rstrip("/")

    def require_place(self, manifest: Manifest) -> None:
        """Check before hours of asking that an evaluation of this version can be written after them.

        Raises:
            OSError: it can't.
        """
        self._files.require_writable(f"{_folder(manifest)}/{_TRIAL}")

    def add(self, manifest: Manifest, title: str, files: Mapping[str, bytes]) -> str:
        """Write an evaluation's files, by their paths within it, and return where it is.

        An evaluation of the same title stays: two may end in one second.
        """
        taken, free = self.titles(manifest), title
        for number in count(2):
            if free not in taken:
                break
            free = f"{title}-{number}"
        where = f"{_folder(manifest)}/{free}"
        for path in sorted(files, key=lambda path: path == REPORT):
            self._files.write(f"{where}/{path}", files[path])
        return f"{self._root}/{where}"

    def titles(self, manifest: Manifest) -> list[str]:
        """All evaluations of a version, sorted."""
        folder = _folder(manifest)
        return [title for title in self._files.folders(folder) if self._files.exists(f"{folder}/{title}/{REPORT}")]

    def read(self, manifest: Manifest, title: str) -> dict[str, Any]:
        """The `report.json` of an evaluation.

        Raises:
            ManifestError: it is no report.
        """
        path = f"{_folder(manifest)}/{title}/{REPORT}"
        try:
            found = json.loads(self._files.read(path))
            summarize(found)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ManifestError(f"{self._root}/{path} is no report of an evaluation: {error!r}") from None
        return dict(found)

    def latest(self, manifest: Manifest) -> dict[str, Any]:
        """The main figures of the newest evaluation on each data set, by the name and hash of the data."""
        found: dict[str, Any] = {}
        reports = [self.read(manifest, title) for title in self.titles(manifest)]
        for report in sorted(reports, key=lambda report: str(report["created"])):
            found[f"{report['data']['name']} ({report['data']['sha256'][:8]})"] = summarize(report)
        return found


def summarize(report: Mapping[str, Any]) -> dict[str, Any]:
    """Per protocol the users, and in percent the metrics of the service's order and of its parts."""
    found: dict[str, Any] = {}
    for board in report["boards"]:
        methods = {one["name"]: _percent(one) for one in board["methods"] if one["kind"] in ("service", "part")}
        # The first seed of several.
        found.setdefault(board["protocol"], {"users": board["cases"], **methods})
    return found


def _percent(method: Mapping[str, Any]) -> dict[str, float]:
    k = next(iter(method["ndcg"]))
    means = {"auc": method["auc"], f"hr_{k}": method["hit_rate"][k], f"ndcg_{k}": method["ndcg"][k]}
    return {name: round(100 * estimate["value"], 2) for name, estimate in means.items()}


def _folder(manifest: Manifest) -> str:
    return f"{manifest.name}/{manifest.version}/{EVALUATIONS}"
