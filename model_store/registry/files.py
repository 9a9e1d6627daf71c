"""Files of a model store in a local folder or at any fsspec URL."""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

CACHE = Path.home() / ".cache" / "tastestream" / "models"


class StoreFiles:
    """Reads and writes paths relative to `root`; `local` copies those of a remote store to `cache`."""

    def __init__(self, root: str | Path, cache: Path) -> None:
        self.root = str(root)
        self._fs: Any
        self._fs, self._base = fsspec.core.url_to_fs(self.root)
        self._is_local = isinstance(self._fs, LocalFileSystem)
        self._cache = cache / hashlib.sha256(self.root.encode()).hexdigest()[:16]

    def read(self, path: str) -> bytes:
        """
        Raises:
            FileNotFoundError: the store has no such file.
        """
        content: bytes = self._fs.cat_file(self._at(path))
        return content

    def write(self, path: str, content: bytes) -> None:
        """Replace a small file; readers see the old or the new content, never a mixture.

        Raises:
            OSError: it can't be written.
        """
        if not self._is_local:
            self._pipe(path, content)
            return
        target = Path(self._at(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".new-", delete=False) as new:
            new.write(content)
        Path(new.name).chmod(0o644)
        Path(new.name).replace(target)

    def require_writable(self, path: str) -> None:
        """Write the empty file `path`, and delete it.

        Raises:
            OSError: it can't be written. One that can't be deleted stays.
        """
        self.write(path, b"")
        # Some stores keep whatever was written.
        with suppress(Exception):
            self.remove(path)

    def exists(self, path: str) -> bool:
        return bool(self._fs.exists(self._at(path)))

    def folders(self, path: str = "") -> list[str]:
        """Names of the folders in `path`, sorted; none if it does not exist."""
        self._fs.invalidate_cache()
        if not self.exists(path):
            return []
        entries = self._fs.ls(self._at(path), detail=True)
        return sorted(entry["name"].rstrip("/").rsplit("/", 1)[-1] for entry in entries if entry["type"] == "directory")

    def copy_in(self, folder: Path, path: str) -> None:
        """Copy the files of a local folder, not its subfolders, to the folder `path`."""
        for file in sorted(file for file in folder.iterdir() if file.is_file()):
            target = self._at(f"{path}/{file.name}")
            self._fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
            self._fs.put_file(str(file), target)

    def make_folder(self, path: str) -> bool:
        """Make a folder; False if it exists. A remote store has no folders of its own: always True there."""
        if not self._is_local:
            return True
        folder = Path(self._at(path))
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.mkdir()
        except FileExistsError:
            return False
        return True

    def remove(self, path: str) -> None:
        """Delete a file, or a folder with everything in it, if it exists."""
        with suppress(FileNotFoundError):
            self._fs.rm(self._at(path), recursive=True)

    @contextmanager
    def locked(self, path: str) -> Iterator[None]:
        """Exclude others on this machine that change something in the folder `path`; nobody in a remote store."""
        if not self._is_local:
            yield
            return
        descriptor = os.open(self._at(path), os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def size(self, path: str) -> int:
        """Bytes of the files in a folder and below."""
        return int(self._fs.du(self._at(path)))

    def local(self, path: str) -> Path:
        """A local folder or file with the content of `path`, which must not change after it was written.

        Raises:
            FileNotFoundError: the store has no such path.
        """
        if self._is_local:
            found = Path(self._at(path))
            if not found.exists():
                raise FileNotFoundError(str(found))
            return found
        copy = self._cache / path
        if not copy.exists():
            self._download(path, copy)
        return copy

    def _download(self, path: str, copy: Path) -> None:
        copy.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=copy.parent, prefix=".fetching-") as scratch:
            fetched = Path(scratch) / "content"
            self._fs.get(self._at(path), str(fetched), recursive=True)
            try:
                fetched.rename(copy)
            except OSError:
                # Another process was faster, and wrote the same.
                if not copy.exists():
                    raise

    def _pipe(self, path: str, content: bytes) -> None:
        try:
            self._fs.pipe_file(self._at(path), content)
        except OSError:
            raise
        except Exception as error:
            # Each file system has exceptions of its own; one that is read-only may raise NotImplementedError.
            raise OSError(f"{type(error).__name__} {error}".strip()) from error

    def _at(self, path: str) -> str:
        return f"{self._base}/{path}" if path else self._base
