"""The models' answers on disk, by a hash of everything that they depend on: a repeated run asks nothing twice."""

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

from model_store.errors import UserError
from model_store.registry.manifest import Manifest

FILE = "answers.sqlite"
_AT_ONCE = 500


class AnswerCacheError(UserError):
    """The cache can't be used; the message names its file."""


class AnswerCache:
    """A table of answers in one SQLite file, which several runs may share. Each answer is written when it comes.

    Args:
        folder: created if missing; None keeps answers in memory.

    Raises:
        AnswerCacheError: the folder can't be written, or its file is no such table.
    """

    def __init__(self, folder: Path | None) -> None:
        self._where = ":memory:" if folder is None else str(folder / FILE)
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
            # Committed at once. The power may fail in the middle of a write: then the last answers are asked again.
            self._table = sqlite3.connect(self._where, isolation_level=None, timeout=60)
            self._table.execute("PRAGMA journal_mode = WAL")
            self._table.execute("PRAGMA synchronous = NORMAL")
            self._table.execute("CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, answer TEXT) WITHOUT ROWID")
        except (OSError, sqlite3.Error) as error:
            raise AnswerCacheError(f"answers can't be cached in {self._where}: {error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._table.close()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, str]:
        """The cached answers of those of `keys` that have one.

        Raises:
            AnswerCacheError: the file is damaged.
        """
        found: dict[bytes, str] = {}
        try:
            for start in range(0, len(keys), _AT_ONCE):
                some = keys[start : start + _AT_ONCE]
                places = ",".join("?" * len(some))
                found.update(self._table.execute(f"SELECT key, answer FROM answers WHERE key IN ({places})", some))  # noqa: S608
        except sqlite3.Error as error:
            raise AnswerCacheError(f"{self._where} can't be read: {error}; remove it, and ask anew") from None
        return found

    def put(self, answers: Mapping[bytes, str]) -> None:
        """
        Raises:
            AnswerCacheError: the disk is full or the file can't be written.
        """
        try:
            self._table.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?)", answers.items())
        except sqlite3.Error as error:
            raise AnswerCacheError(f"answers can't be cached in {self._where}: {error}") from None


def version_key(manifest: Manifest) -> bytes:
    """Changes with what determines a version's answers: its weights, its prompts, and how it is asked."""
    fields = [manifest.id, manifest.weights_sha256, manifest.prompts_sha256]
    fields.append(manifest.model_dump_json(include={"labels", "picture", "serving"}))
    if manifest.picture_tokens is not None:
        fields += [manifest.encoder_sha256, manifest.picture_tokens.model_dump_json()]
    return answer_key(*fields)


def answer_key(*fields: bytes | str | Sequence[str]) -> bytes:
    """The hash of a prompt's parts. None of them can be mistaken for another: each is hashed on its own."""
    digest = hashlib.sha256()
    for field in fields:
        content = field if isinstance(field, bytes) else orjson.dumps(field)
        digest.update(hashlib.sha256(content).digest())
    return digest.digest()
