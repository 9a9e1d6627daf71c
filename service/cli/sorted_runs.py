"""Sorting more rows than fit into memory: sorted runs on disk, merged while they are read."""

import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

Row = list[Any]


class SortedRuns:
    """Rows are lists of what JSON holds, compared field by field; no two may be equal in all that is compared.

    Args:
        folder: holds the runs; its owner removes it.
        rows: how many rows are in memory at a time.
        files: how many runs are open at a time.
    """

    def __init__(self, folder: Path, *, rows: int = 50_000, files: int = 64) -> None:
        self._folder = folder
        self._rows = rows
        self._files = files
        self._waiting: list[Row] = []
        self._runs: list[Path] = []
        self._written = 0

    def add(self, row: Row) -> None:
        self._waiting.append(row)
        if len(self._waiting) == self._rows:
            self._spill()

    def merged(self) -> Iterator[Row]:
        """All rows in their order."""
        self._waiting.sort()
        yield from heapq.merge(*map(_read, self._runs), self._waiting)

    def _spill(self) -> None:
        self._waiting.sort()
        self._runs.append(self._write(self._waiting))
        self._waiting = []
        if len(self._runs) == self._files:
            merged = self._write(heapq.merge(*map(_read, self._runs)))
            for run in self._runs:
                run.unlink()
            self._runs = [merged]

    def _write(self, rows: Iterable[Row]) -> Path:
        path = self._folder / f"run-{self._written}"
        self._written += 1
        with path.open("wb") as lines:
            lines.writelines(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
        return path


def _read(path: Path) -> Iterator[Row]:
    with path.open("rb") as lines:
        yield from map(orjson.loads, lines)
