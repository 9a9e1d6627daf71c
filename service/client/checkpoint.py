"""What an import keeps on disk: how far it got, for the next run to resume there, and the rejected lines."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Self

import orjson

from model_store.errors import UserError
from service.client.source import Batch, Rejected, Source

_SHOWN = 20


@dataclass(slots=True)
class Tally:
    """The outcome of the lines up to `line`, which ends at `offset`.

    Attributes:
        duplicates: items that were replaced by a later line of their batch.
        first: the first rejected lines, to be shown.
        rejects_bytes: the length of the file of rejected lines.
    """

    line: int = 0
    offset: int = 0
    stored: int = 0
    duplicates: int = 0
    rejected: int = 0
    pictures_refused: int = 0
    pictures_pending: int = 0
    rejects_bytes: int = 0
    first: list[Rejected] = field(default_factory=list)

    def add(self, batch: Batch, rejected: Sequence[Rejected]) -> None:
        self.line, self.offset = batch.line, batch.offset
        pictures = sum(one.code == "picture_refused" for one in rejected)
        self.pictures_refused += pictures
        self.rejected += len(rejected) - pictures
        self.first += rejected[: _SHOWN - len(self.first)]


class Checkpoint:
    """The tally of one source, one service and one API key in a file. A changed source has another file.

    The key says which tenant gets the items, so another key starts from the beginning.
    """

    def __init__(self, folder: Path, source: Source, url: str, api_key: str | None = None) -> None:
        whose = [] if api_key is None else [sha256(api_key.encode()).hexdigest()]
        name = orjson.dumps([str(source.path), source.size, source.mtime_ns, url.rstrip("/"), *whose])
        self.path = folder / f"{sha256(name).hexdigest()[:16]}.json"

    def read(self) -> Tally | None:
        """None if it is missing or damaged: the import then starts from the beginning, which is harmless."""
        try:
            fields = orjson.loads(self.path.read_bytes())
            return Tally(**{**fields, "first": [Rejected(**one) for one in fields["first"]]})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def write(self, tally: Tally) -> None:
        """Raises UserError if it can't be written."""
        new = self.path.with_suffix(".new")
        with _writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            new.write_bytes(orjson.dumps(asdict(tally)))
            new.replace(self.path)

    def remove(self) -> None:
        with _writing(self.path):
            self.path.unlink(missing_ok=True)


class RejectsFile:
    """Rejected lines as JSON lines; discarded if `path` is None.

    Args:
        length: where to continue. The rest of the file is removed, since its lines will be written again.
        source: what is imported; it must not be the same file.
    """

    def __init__(self, path: Path | None, length: int, source: Source) -> None:
        self._path = path or Path(os.devnull)
        with _writing(self._path):
            self._path.touch()
            if self._path.samefile(source.path):
                raise UserError(f"{path} is the file that is imported; use another file for the rejected lines")
            if self._path.stat().st_size > length:
                os.truncate(self._path, length)
            self._file = self._path.open("ab")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with _writing(self._path):
            self._file.close()

    def add(self, rejected: Sequence[Rejected]) -> None:
        with _writing(self._path):
            self._file.write(b"".join(orjson.dumps(asdict(one)) + b"\n" for one in rejected))

    def flush(self) -> int:
        """Write what is buffered and return the length of the file."""
        with _writing(self._path):
            self._file.flush()
            return self._file.tell()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn an error in writing `path` into a UserError that names it."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror or error}") from error
