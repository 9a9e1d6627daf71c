"""Files that others see as a whole, or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path, temporary: Path) -> Iterator[BinaryIO]:
    """A new file, which takes the place of `path` when it is written and on the disk; if not, nothing is left of it.

    Args:
        temporary: its name until then, in the same folder; no file may have it.
    """
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
