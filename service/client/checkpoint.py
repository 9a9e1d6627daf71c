"""How far an import came, kept beside the data so that the next run goes on from there."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path

import orjson

from model_store.errors import UserError
from service.client.source import Batch, Rejected, Source

SHOWN = 20
"""Rejected lines that are kept to be shown."""


@dataclass(slots=True)
class Tally:
    """What became of the lines up to `line`, which ends at `offset`; `first` are the first of the rejected ones.

    `duplicates` are items that a later line of their batch replaced. `noted_bytes` is the length of the file of
    rejected lines at this point.
    """

    line: int = 0
    offset: int = 0
    stored: int = 0
    duplicates: int = 0
    rejected: int = 0
    pictures_refused: int = 0
    pictures_pending: int = 0
    noted_bytes: int = 0
    first: list[Rejected] = field(default_factory=list)

    def add(self, batch: Batch, stored: int, duplicates: int, rejected: list[Rejected]) -> None:
        self.line, self.offset = batch.line, batch.offset
        self.stored += stored
        self.duplicates += duplicates
        pictures = sum(one.code == "picture_refused" for one in rejected)
        self.pictures_refused += pictures
        self.rejected += len(rejected) - pictures
        self.first += rejected[: SHOWN - len(self.first)]


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what goes wrong while `path` is written into a UserError that names it."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror or error}") from error


class Checkpoint:
    """The tally of one source into one service, in a file of its own.

    A source that was changed since is another one.
    """

    def __init__(self, folder: Path, source: Source, url: str) -> None:
        name = orjson.dumps([str(source.path), source.size, source.mtime_ns, url.rstrip("/")])
        self.path = folder / f"{sha256(name).hexdigest()[:16]}.json"

    def read(self) -> Tally | None:
        """None when there is none, or one that can't be read: then the import begins anew, which harms nothing."""
        try:
            fields = orjson.loads(self.path.read_bytes())
            return Tally(**{**fields, "first": [Rejected(**one) for one in fields["first"]]})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def write(self, tally: Tally) -> None:
        """Raises UserError when it can't be written."""
        new = self.path.with_suffix(".new")
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            new.write_bytes(orjson.dumps(asdict(tally)))
            new.replace(self.path)

    def remove(self) -> None:
        with writing(self.path):
            self.path.unlink(missing_ok=True)
