"""The folder of a run: its checkpoints, and the record that tells whether they belong to the same run."""

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

from model_store.data import text_files
from model_store.data.dataset import DESCRIPTIONS, INTERACTIONS, ITEMS
from model_store.data.summaries import SUMMARIES
from model_store.msr.finetune import FinetuneError
from model_store.msr.finetune.base import Base
from model_store.msr.finetune.options import FinetuneOptions

_RECORD = "run.json"
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_LAST_WRITTEN = "trainer_state.json"
_SHOWN = 3


def record(base: Base, data: Path, options: FinetuneOptions, processes: int) -> dict[str, Any]:
    """What the weights of a run depend on, as JSON holds it."""
    of_training = options.of_training()
    recorded: dict[str, Any] = json.loads(
        json.dumps(
            {
                "base": base.digest,
                "architecture": base.config.model_type,
                "data": data_digest(data),
                "processes": processes,
                **of_training,
            }
        )
    )
    return recorded


def data_digest(data: Path) -> str:
    """SHA-256 of the dataset's tables; pictures count by their names."""
    digest = hashlib.sha256()
    for name in (ITEMS, INTERACTIONS, DESCRIPTIONS, SUMMARIES):
        path = text_files.find(data / name)
        if path.is_file():
            with path.open("rb") as file:
                digest.update(name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def open_run(folder: Path, expected: dict[str, Any], resume: bool) -> Path | None:
    """Prepare the folder, and return the checkpoint to continue from, or None for a new run.

    Raises:
        FinetuneError: the folder has another run or other files, or nothing to resume.
    """
    newest = _newest(folder)
    if not resume:
        if newest is not None:
            raise FinetuneError(
                f"{folder} has {newest.name} of an unfinished run: continue it with --resume, or delete the folder"
            )
        _make(folder)
        (folder / _RECORD).write_text(json.dumps(expected, indent=2), "utf-8")
        return None
    if newest is None:
        raise FinetuneError(f"{folder} has no checkpoint to resume; leave out --resume")
    try:
        found = json.loads((folder / _RECORD).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise FinetuneError(f"{folder / _RECORD} can't be read ({error}); delete the folder and start again") from None
    if different := [name for name in sorted(expected) if found.get(name) != expected[name]]:
        shown = "; ".join(_difference(name, found.get(name), expected[name]) for name in different[:_SHOWN])
        raise FinetuneError(f"{folder} belongs to another run: {shown}. Resume with the same, or delete the folder")
    return newest


def _newest(folder: Path) -> Path | None:
    """The last whole checkpoint: one that was being written when the run was killed lacks its last file."""
    found = {path: match for path in folder.glob("*") if (match := _CHECKPOINT.fullmatch(path.name))}
    whole = [path for path in found if _is_json(path / _LAST_WRITTEN)]
    return max(whole, key=lambda path: int(found[path][1]), default=None)


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _make(folder: Path) -> None:
    """Make the folder of a new run, without what another left before its first checkpoint.

    Raises:
        FinetuneError: it has other files, which would be deleted with the run.
    """
    try:
        if folder.exists() and any(folder.iterdir()) and not (folder / _RECORD).is_file():
            raise FinetuneError(f"{folder} is not empty, and no folder of a run: name a new one (--work-dir)")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FinetuneError(f"{folder} can't be written: {error.strerror or error} (--work-dir)") from None
    for path in folder.glob("checkpoint-*"):
        shutil.rmtree(path)


def close_run(folder: Path) -> None:
    """Delete the checkpoints of a run whose version is registered."""
    shutil.rmtree(folder)


def _difference(name: str, found: Any, expected: Any) -> str:
    if name in ("base", "data"):
        return f"another {name}"
    return f"{name} {found}, not {expected}"
