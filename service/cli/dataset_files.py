"""Write a dataset folder or a file in one step, so that it is never there in part."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

from model_store.data.dataset import IMAGES, INTERACTIONS, ITEMS
from model_store.errors import UserError

_PARTIAL = ".partial-"


@contextmanager
def new_dataset(folder: Path, *, force: bool) -> Iterator[Path]:
    """A temporary folder whose dataset files replace those in `folder` at the end, and only if nothing fails.

    Raises:
        UserError: `folder` is not empty and `force` is not given, or it can't be written.
    """
    made = not folder.exists()
    try:
        if not made and not force and any(not path.name.startswith(_PARTIAL) for path in folder.iterdir()):
            raise UserError(f"{folder} is not empty: use another folder, or --force to replace the dataset in it")
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix=_PARTIAL) as partial:
            yield Path(partial)
            _replace(Path(partial), folder)
    except BaseException as error:
        if made:
            with suppress(OSError):
                folder.rmdir()
        if isinstance(error, OSError):
            raise UserError(f"{folder} can't be written: {error}") from error
        raise


@contextmanager
def new_file(file: Path, *, force: bool) -> Iterator[TextIO]:
    """An ASCII file to write, which becomes `file` at the end, and only if nothing fails.

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
    """Move the files. No reader takes a folder without interactions for a dataset, so they go first and come last."""
    names = [name for name in (IMAGES, ITEMS, INTERACTIONS) if (partial / name).exists()]
    if INTERACTIONS in names:
        (folder / INTERACTIONS).unlink(missing_ok=True)
    for name in names:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        (partial / name).replace(folder / name)
