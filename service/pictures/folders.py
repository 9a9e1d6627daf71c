"""The folder of picture files: local, or on any filesystem that fsspec supports.

A picture is stored as `ab/<hash>`, where `ab` are the first two digits of its hash. While a file is written or removed,
its name is `ab/<hash>.<16 hex digits>`. By that name, a sweep finds what a killed process left.
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
from service.whole_files import replacing

PARTS = tuple(f"{number:02x}" for number in range(256))
"""The subfolders."""
_OWN_FILE = re.compile(r"[0-9a-f]{64}(\.[0-9a-f]{16})?")


def open_folder(url: str, refresh_s: float) -> "_LocalFolder | _RemoteFolder":
    """The folder at an fsspec URL or a local path.

    Args:
        refresh_s: a remote file younger than this is not written again.

    Raises:
        UserError: fsspec does not support the URL, or a package for it is missing.
    """
    return _RemoteFolder(url, refresh_s) if "://" in url or "::" in url else _LocalFolder(Path(url))


class _LocalFolder:
    """A local folder. Names are `<part>/<file name>`. Every method raises OSError if the folder can't be used."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, names: list[str]) -> dict[str, bytes]:
        """The contents of the files that exist, by name."""
        found = {}
        for name in names:
            with suppress(FileNotFoundError):
                found[name] = (self._root / name).read_bytes()
        return found

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically, or set the time of an existing one to now."""
        path = self._root / name
        # PermissionError: a file of another user can't be touched, but it can be replaced.
        with suppress(FileNotFoundError, PermissionError):
            os.utime(path)
            # `remove` may have renamed the file before it was touched and checked its age before that. If the file
            # still has its name, any check of its age comes after the touch.
            path.stat()
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, _temporary(path)) as file:
            file.write(content)

    def sizes(self, part: str) -> dict[str, int]:
        """The sizes in bytes of this store's files in one subfolder."""
        sizes = {}
        with suppress(FileNotFoundError):
            for path in (self._root / part).iterdir():
                with suppress(FileNotFoundError):
                    if _OWN_FILE.fullmatch(path.name):
                        sizes[f"{part}/{path.name}"] = path.stat().st_size
        return sizes

    def age_s(self, name: str) -> float | None:
        """Seconds since the file was last written; None if it does not exist."""
        try:
            return time.time() - (self._root / name).stat().st_mtime
        except FileNotFoundError:
            return None

    def remove(self, name: str, older_than_s: float) -> bool:
        """Remove the file if it is older; returns whether it was removed."""
        # Renamed before its age is checked: a later writer finds no file and writes a new one, and an earlier touch
        # shows in the time of the renamed file.
        path = self._root / name
        # An old temporary file has no writer, so it needs no new name. Another sweep may have just renamed it to that.
        renamed = path if path.suffix else _temporary(path)
        try:
            if renamed != path:
                path.rename(renamed)
            if time.time() - renamed.stat().st_mtime < older_than_s:
                renamed.replace(path)
                return False
            renamed.unlink()
        except FileNotFoundError:
            return False
        return True


class _RemoteFolder:
    """The same on a filesystem of fsspec, except that a writer may refresh a file between its age check and removal."""

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
        # Not every filesystem writes a file atomically.
        temporary = f"{path}.{os.urandom(8).hex()}"
        self._fs.pipe_file(temporary, content)
        self._fs.mv(temporary, path)

    def sizes(self, part: str) -> dict[str, int]:
        self._fs.invalidate_cache()
        try:
            entries = self._fs.ls(f"{self._root}/{part}", detail=True)
        except FileNotFoundError:
            return {}
        names = ((entry["name"].rpartition("/")[2], entry) for entry in entries if entry["type"] == "file")
        return {f"{part}/{name}": entry["size"] or 0 for name, entry in names if _OWN_FILE.fullmatch(name)}

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


def _temporary(path: Path) -> Path:
    return path.with_name(f"{path.name.partition('.')[0]}.{os.urandom(8).hex()}")
