"""Where picture files lie: a local folder, or any other that fsspec knows.

A picture lies under `ab/<hash>`, where `ab` are the first two digits of its hash. A file that is
being written or removed is called `ab/<hash>.<16 hex digits>` meanwhile; one that a killed process
left is found by that name.
"""

import os
import re
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec

from model_store.errors import UserError

PARTS = tuple(f"{number:02x}" for number in range(256))
"""The subfolders."""
_OURS = re.compile(r"[0-9a-f]{64}(\.[0-9a-f]{16})?")


def open_folder(url: str, refresh_s: float) -> "_LocalFolder | _RemoteFolder":
    """The folder at an fsspec URL or a local path.

    Args:
        refresh_s: a remote file that is written again is left as it is while it is younger.

    Raises:
        UserError: nothing is known of such URLs, or a package for them is missing.
    """
    return _RemoteFolder(url, refresh_s) if "://" in url or "::" in url else _LocalFolder(Path(url))


class _LocalFolder:
    """Names are `<part>/<file name>`. Every method raises OSError when the folder can't be used."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, names: list[str]) -> dict[str, bytes]:
        """The files that are there."""
        found = {}
        for name in names:
            with suppress(FileNotFoundError):
                found[name] = (self._root / name).read_bytes()
        return found

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole, or make the one that is there as good as new."""
        path = self._root / name
        # PermissionError: another user's file can't be touched, but it can be replaced.
        with suppress(FileNotFoundError, PermissionError):
            os.utime(path)
            # The touched file may have been moved away between being found and being touched, too late
            # for `remove` to see it. Still under its name, the touch came before any look at its age.
            path.stat()
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = _beside(path)
        try:
            with beside.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise

    def sizes(self, part: str) -> dict[str, int]:
        """Bytes of each of this store's files in one subfolder; other files are not listed."""
        sizes = {}
        with suppress(FileNotFoundError):
            for path in (self._root / part).iterdir():
                with suppress(FileNotFoundError):
                    if _OURS.fullmatch(path.name):
                        sizes[f"{part}/{path.name}"] = path.stat().st_size
        return sizes

    def age_s(self, name: str) -> float | None:
        """Seconds since the file was written last; None if there is none."""
        try:
            return time.time() - (self._root / name).stat().st_mtime
        except FileNotFoundError:
            return None

    def remove(self, name: str, older_than_s: float) -> bool:
        """Remove the file unless it is younger or gone."""
        # Out of the way first: whoever writes the picture from now on doesn't find it, and writes it
        # anew; whoever touched it before has left a fresh time on what was moved.
        path = self._root / name
        # What a killed process left has no writer. Another sweep may take what this one moved for that.
        aside = path if path.suffix else _beside(path)
        try:
            if aside != path:
                path.rename(aside)
            if time.time() - aside.stat().st_mtime < older_than_s:
                aside.replace(path)
                return False
            aside.unlink()
        except FileNotFoundError:
            return False
        return True


class _RemoteFolder:
    """The same on any filesystem that fsspec knows.

    Between the look at a file's age and its removal a writer may refresh it: the store behind can't exclude that.
    """

    def __init__(self, url: str, refresh_s: float) -> None:
        try:
            filesystem, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise UserError(f"pictures can't be kept at {url.partition(':')[0]}:// - {error}") from error
        self._fs: Any = filesystem
        self._root = root
        self._refresh_s = refresh_s

    def read(self, names: list[str]) -> dict[str, bytes]:
        paths = {f"{self._root}/{name}": name for name in names}
        answers: dict[str, bytes | Exception] = self._fs.cat(list(paths), on_error="return")
        found = {}
        for path, answer in answers.items():
            if isinstance(answer, bytes):
                found[paths[path]] = answer
            elif not isinstance(answer, FileNotFoundError):
                raise OSError(f"{path} can't be read: {answer!r}") from answer
        return found

    def write(self, name: str, content: bytes) -> None:
        age_s = self.age_s(name)
        if age_s is not None and age_s < self._refresh_s:
            return
        path = f"{self._root}/{name}"
        self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        # Beside and then moved: not every filesystem writes a file in one step.
        beside = f"{path}.{os.urandom(8).hex()}"
        self._fs.pipe_file(beside, content)
        self._fs.mv(beside, path)

    def sizes(self, part: str) -> dict[str, int]:
        self._fs.invalidate_cache()
        try:
            entries = self._fs.ls(f"{self._root}/{part}", detail=True)
        except FileNotFoundError:
            return {}
        names = ((entry["name"].rpartition("/")[2], entry) for entry in entries if entry["type"] == "file")
        return {f"{part}/{name}": entry["size"] or 0 for name, entry in names if _OURS.fullmatch(name)}

    def age_s(self, name: str) -> float | None:
        path = f"{self._root}/{name}"
        self._fs.invalidate_cache(path.rpartition("/")[0])
        try:
            modified: datetime = self._fs.modified(path)
        except FileNotFoundError:
            return None
        except NotImplementedError:
            raise OSError(f"{self._fs.protocol} does not tell when files were written") from None
        known = modified if modified.tzinfo else modified.replace(tzinfo=UTC)
        return (datetime.now(UTC) - known).total_seconds()

    def remove(self, name: str, older_than_s: float) -> bool:
        age_s = self.age_s(name)
        if age_s is None or age_s < older_than_s:
            return False
        with suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._root}/{name}")
        return True


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name.partition('.')[0]}.{os.urandom(8).hex()}")
