"""Writing a dataset folder so that it is never half there."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from model_store.dataset import IMAGES, INTERACTIONS, ITEMS
from model_store.errors import UserError

ORDER = (IMAGES, ITEMS, INTERACTIONS)
"""No reader takes a folder without interactions for a dataset, so they go first and come last."""

_STAGING = ".exporting-"


@contextmanager
def staged(folder: Path, *, force: bool) -> Iterator[Path]:
    """A folder to write in; what lies in it at the end moves into `folder`, what was there by the same names goes.

    When the writing breaks off, `folder` is as it was; what a killed export left in it is removed by the next.

    Raises:
        UserError: `folder` is not empty, and `force` is not given; or it can't be written.
    """
    made = not folder.exists()
    try:
        if not made and not force and any(not path.name.startswith(_STAGING) for path in folder.iterdir()):
            raise UserError(f"{folder} is not empty: name another folder, or give --force to replace the dataset in it")
        for left in folder.glob(f"{_STAGING}*"):
            shutil.rmtree(left)
        staging = folder / f"{_STAGING}{os.getpid()}"
        staging.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"{folder} can't be written: {error}") from error
    try:
        yield staging
        _place(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if made:
            with suppress(OSError):
                folder.rmdir()


def _place(staging: Path, folder: Path) -> None:
    written = [name for name in ORDER if (staging / name).exists()]
    if INTERACTIONS in written:
        (folder / INTERACTIONS).unlink(missing_ok=True)
    for name in written:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        (staging / name).replace(folder / name)
