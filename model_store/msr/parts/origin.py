"""Where a converted part came from: a small file beside its weights, which manifests quote."""

import json
from pathlib import Path

ORIGIN = "origin.json"


def write_origin(folder: Path, source: str, sha256: str, licence: str) -> None:
    """Record the file's name, its hash and the licence that it states."""
    text = json.dumps({"source": source, "sha256": sha256, "licence": licence}, indent=1)
    (folder / ORIGIN).write_text(text + "\n", "utf-8")


def source_of(folder: Path) -> str:
    """The source in a few words; the folder's name if it was not recorded."""
    try:
        recorded = json.loads((folder / ORIGIN).read_text("utf-8"))
        return f"{recorded['source']} (sha256 {recorded['sha256'][:12]})"
    except (OSError, ValueError, KeyError, TypeError):
        return folder.resolve().name
