"""Write a dataset folder or a file as a whole or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

from model_store.data.dataset import DESCRIPTIONS, IMAGES, INTERACTIONS, ITEMS
from model_store.data.summaries import SUMMARIES
from model_store.errors import UserError

BEFORE = "before"
"""The folder, inside a prepared dataset, of the part of a time split that may be trained on."""
_REPLACED = {ITEMS: (ITEMS, DESCRIPTIONS), INTERACTIONS: (INTERACTIONS, SUMMARIES)}
"""The old files that end with a new one: themselves, and what models wrote about them."""
_PARTIAL = ".partial-"


def require_apart(source: Path, folder: Path) -> None:
    """
    Raises:
        UserError: to replace the dataset in `folder` would delete files of `source`.
    """
    home, target = (source if source.is_dir() else source.parent).resolve(), folder.resolve()
    if home == target or any(home.is_relative_to(target / name) for name in (IMAGES, BEFORE)):
        raise UserError(f"{folder} holds the source {source}, which would be replaced: write into another folder")


def require_free(folder: Path, *, force: bool) -> None:
    """
    Raises:
        UserError: `folder` is not empty and `force` is not given, or it is no folder.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is not a folder: name a new one")
    if not force and folder.exists() and any(not path.name.startswith(_PARTIAL) for path in folder.iterdir()):
        raise UserError(f"{folder} is not empty: use another folder, or --force to replace the dataset in it")


def require_writable(file: Path) -> None:
    """
    Raises:
        UserError: `file` can't be written or replaced.
    """
    try:
        TemporaryDirectory(dir=file.parent, prefix=_PARTIAL).cleanup()
    except OSError as error:
        raise UserError(f"{file} can't be written: {error.strerror or error}") from None
    if file.is_dir():
        raise UserError(f"{file} can't be written: it is a folder")


@contextmanager
def new_dataset(folder: Path, *, force: bool) -> Iterator[Path]:
    """A temporary folder whose dataset files replace those in `folder` at the end, if nothing failed.

    Raises:
        UserError: `folder` is not empty and `force` is not given, or it can't be written.
    """
    is_new = not folder.exists()
    try:
        require_free(folder, force=force)
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix=_PARTIAL) as partial:
            yield Path(partial)
            _replace(Path(partial), folder)
    except OSError as error:
        raise UserError(f"{folder} can't be written: {error}") from error
    finally:
        if is_new:
            # Only an empty folder can be removed.
            with suppress(OSError):
                folder.rmdir()


@contextmanager
def new_file(file: Path, *, force: bool) -> Iterator[TextIO]:
    """An ASCII file to write, which becomes `file` at the end, if nothing failed.

    Raises:
        UserError: `file` exists and `force` is not given, or it can't be written.
    """
    if file.exists() and not force:
        raise UserError(f"{file} exists: use another file, or --force to replace it")
    try:
        with TemporaryDirectory(dir=file.parent, prefix=_PARTIAL) as partial:
            written = Path(partial) / file.name
            with written.open("w", encoding="ascii") as lines:
                yield lines
            written.replace(file)
    except OSError as error:
        raise UserError(f"{file} can't be written: {error}") from error


def _replace(partial: Path, folder: Path) -> None:
    """Move the files. A folder without interactions is no dataset, so they are removed first and moved last.

    What was made from the old files says nothing about the new ones, and is removed with them.
    """
    names = [name for name in (IMAGES, ITEMS, DESCRIPTIONS, INTERACTIONS) if (partial / name).exists()]
    for old in (old for name in reversed(names) for old in _REPLACED.get(name, ())):
        (folder / old).unlink(missing_ok=True)
        (folder / f"{old}.gz").unlink(missing_ok=True)
    if INTERACTIONS in names and (folder / BEFORE).is_dir():
        shutil.rmtree(folder / BEFORE)
    for name in names:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        (partial / name).replace(folder / name)
