"""Writing a dataset folder, or a file, so that it is never half there, and that no two write at once."""

import fcntl
import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import TextIO

from model_store.data.dataset import IMAGES, INTERACTIONS, ITEMS
from model_store.errors import UserError

ORDER = (IMAGES, ITEMS, INTERACTIONS)
"""No reader takes a folder without interactions for a dataset, so they go first and come last."""

_STAGING = ".exporting-"


@contextmanager
def staged(folder: Path, *, force: bool) -> Iterator[Path]:
    """A folder to write in; what lies in it at the end moves into `folder`, what was there by the same names goes.

    When the writing breaks off, `folder` is as it was; what a killed export left in it is removed by the next.

    Raises:
        UserError: `folder` is not empty, and `force` is not given; or it can't be written, or is being written.
    """
    made = not folder.exists()
    try:
        if not made and not force and any(not path.name.startswith(_STAGING) for path in folder.iterdir()):
            raise UserError(f"{folder} is not empty: name another folder, or give --force to replace the dataset in it")
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"{folder} can't be written: {error}") from error
    staging = folder / f"{_STAGING}{token_hex(8)}"
    try:
        _hold(lock, folder)
        try:
            for left in folder.glob(f"{_STAGING}*"):
                shutil.rmtree(left)
            staging.mkdir()
        except OSError as error:
            raise UserError(f"{folder} can't be written: {error}") from error
        yield staging
        _place(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if made:
            with suppress(OSError):
                folder.rmdir()
        os.close(lock)


@contextmanager
def staged_file(file: Path, *, force: bool) -> Iterator[TextIO]:
    """A text of ASCII to write, which becomes `file` at the end, and nothing when the writing breaks off.

    Raises:
        UserError: `file` exists, and `force` is not given; or it can't be written, or is being written.
    """
    if file.exists() and not force:
        raise UserError(f"{file} exists: name another file, or give --force to replace it")
    stem = f".{file.name}{_STAGING}"
    beside = file.with_name(f"{stem}{token_hex(8)}")
    try:
        for left in file.parent.glob(f"{glob.escape(stem)}*"):
            _remove_left(left, file)
        with beside.open("w", encoding="ascii") as lines:
            _hold(lines.fileno(), file)
            yield lines
            lines.flush()
            beside.replace(file)
    except OSError as error:
        raise UserError(f"{file} can't be written: {error}") from error
    finally:
        beside.unlink(missing_ok=True)


def _remove_left(left: Path, file: Path) -> None:
    with left.open("r") as lines:
        _hold(lines.fileno(), file)
        left.unlink()


def _hold(handle: int, what: Path) -> None:
    """Lock an open file or folder until it is closed, also by a kill."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"another export is writing {what}: wait for it, or name another place") from None
    except OSError:
        # A filesystem without locks: there it is as it was without them.
        return


def _place(staging: Path, folder: Path) -> None:
    written = [name for name in ORDER if (staging / name).exists()]
    if INTERACTIONS in written:
        (folder / INTERACTIONS).unlink(missing_ok=True)
    for name in written:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        (staging / name).replace(folder / name)
