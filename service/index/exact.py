"""Exact search in the memory of the process: rows of a matrix, compared with every query.

A row, once written, is never changed: a new vector of an item is a new row, and the old one is marked dead. Searches
therefore need no lock, and see each item with one of its vectors. Dead rows are removed when the matrix is copied,
which happens when it is full or has many of them.
"""

import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from service.index.files import read_rows, write_rows
from service.index.vector_index import Floats, Found, VectorIndex

_CHUNK_NUMBERS = 2**18
"""Numbers that are compared at a time: as float32 they fit into a processor's cache."""
_KEPT_BITS, _SCALE = np.int32(0x8FFFFFFF - 2**32), np.float32(2.0**112)
_FIRST_ROWS = 1024
_GROWTH = 1.5
_DEAD_SHARE = 0.25


class _Rows:
    """The rows in use are the first `used` ones; `row_of` has those that are not dead."""

    def __init__(self, matrix: NDArray[Any], ids: list[str], row_of: dict[str, int]) -> None:
        self.matrix, self.ids, self.row_of = matrix, ids, row_of
        self.dead = np.zeros(len(matrix), dtype=np.bool_)
        self.used = len(ids)

    def copied(self, more: int) -> "_Rows":
        """Without dead rows, and with room for `more`."""
        live = np.fromiter(self.row_of.values(), dtype=np.int64, count=len(self.row_of))
        live.sort()
        room = max(_FIRST_ROWS, round((len(live) + more) * _GROWTH))
        matrix = np.empty((room, self.matrix.shape[1]), dtype=self.matrix.dtype)
        matrix[: len(live)] = self.matrix[live]
        ids = [self.ids[row] for row in live.tolist()]
        return _Rows(matrix, ids, {item: row for row, item in enumerate(ids)})


class ExactIndex(VectorIndex):
    """
    Args:
        dtype: of the rows; float16 takes half the memory of float32, and longer to search.
    """

    def __init__(self, version: str, dimensions: int, dtype: DTypeLike = np.float16) -> None:
        super().__init__(version, dimensions)
        self._writing = threading.Lock()
        self._rows = _Rows(np.empty((0, dimensions), dtype=dtype), [], {})

    def __len__(self) -> int:
        return len(self._rows.row_of)

    @property
    def nbytes(self) -> int:
        """The memory of the matrix."""
        return self._rows.matrix.nbytes

    def upsert(self, ids: Sequence[str], vectors: NDArray[np.floating[Any]]) -> None:
        given = self.checked(vectors, len(ids))
        with self._writing:
            rows = self._with_room(len(ids))
            first = rows.used
            rows.matrix[first : first + len(ids)] = given
            rows.ids.extend(ids)
            rows.used += len(ids)
            for row, item in enumerate(ids, first):
                old = rows.row_of.get(item)
                rows.row_of[item] = row
                if old is not None:
                    rows.dead[old] = True

    def remove(self, ids: Collection[str]) -> None:
        with self._writing:
            for item in ids:
                row = self._rows.row_of.pop(item, None)
                if row is not None:
                    self._rows.dead[row] = True

    def search(
        self,
        queries: NDArray[np.floating[Any]],
        k: int,
        *,
        allowed: Collection[str] | None = None,
        excluded: Collection[str] = (),
    ) -> list[Found]:
        wanted = self.checked(queries).astype(np.float32, copy=False)
        rows, hidden, best = self._rows, set(excluded), _Best(len(wanted), k)
        if allowed is not None:
            chosen = [rows.row_of.get(item, -1) for item in dict.fromkeys(allowed) if item not in hidden]
            places = np.array([row for row in chosen if row >= 0], dtype=np.int64)
            scores = _scores(wanted, rows.matrix[places].astype(np.float32))
            best.add(scores, places, np.zeros(len(places), dtype=np.bool_))
            return self._found(rows, best)
        # In this order: the new row of an item whose old one is dead already is among the used ones.
        blocked = rows.dead.copy()
        used = rows.used
        blocked[[row for item in hidden if (row := rows.row_of.get(item, used)) < used]] = True
        step = max(1, _CHUNK_NUMBERS // self.dimensions)
        for start in range(0, used, step):
            chunk = slice(start, min(start + step, used))
            scores = _scores(wanted, _as_float32(rows.matrix[chunk]))
            best.add(scores, np.arange(chunk.start, chunk.stop), blocked[chunk])
        return self._found(rows, best, hidden)

    def rows(self, ids: Sequence[str]) -> tuple[Floats, NDArray[np.bool_]]:
        rows = self._rows
        places = np.array([rows.row_of.get(item, -1) for item in ids], dtype=np.int64)
        has = (places >= 0) & (places < len(rows.matrix))
        found = np.zeros((len(ids), self.dimensions), dtype=np.float32)
        found[has] = rows.matrix[places[has]]
        return found, has

    def save(self, path: Path, note: Mapping[str, Any]) -> None:
        with self._writing:
            rows = self._rows
            live = sorted(rows.row_of.values())
            matrix = rows.matrix[: rows.used] if len(live) == rows.used else rows.matrix[live]
            ids = rows.ids[: rows.used] if len(live) == rows.used else [rows.ids[row] for row in live]
        # The rows that are written do not change any more.
        write_rows(path, self.version, matrix, ids, note)

    @classmethod
    def load(cls, path: Path, version: str) -> tuple["ExactIndex", dict[str, Any]]:
        """The index of a file, and the file's note. Its rows are read from the file when they are needed.

        Raises:
            BadFile: it is broken, or of another version.
            OSError: there is none, or it can't be read.
        """
        matrix, ids, note = read_rows(path, version)
        index = cls(version, matrix.shape[1], matrix.dtype)
        index._rows = _Rows(matrix, ids, {item: row for row, item in enumerate(ids)})
        return index, note

    def _with_room(self, more: int) -> _Rows:
        rows = self._rows
        full = rows.used + more > len(rows.matrix)
        dead = rows.used - len(rows.row_of)
        if full or dead > max(_FIRST_ROWS, _DEAD_SHARE * rows.used):
            rows = self._rows = rows.copied(more)
        return rows

    def _found(self, rows: _Rows, best: "_Best", hidden: Collection[str] = ()) -> list[Found]:
        found = []
        for places, scores in best.sorted():
            kept: dict[str, float] = {}
            for row, score in zip(places.tolist(), scores.tolist(), strict=True):
                # An item that has got a new vector meanwhile may have been seen with both, or with the one not blocked.
                if (item := rows.ids[row]) not in hidden:
                    kept.setdefault(item, score)
            found.append(Found(list(kept), np.array(list(kept.values()), dtype=np.float32)))
        return found


def _scores(queries: Floats, rows: Floats) -> Floats:
    """Of shape (queries, rows).

    One query after the other: the threads by which BLAS multiplies two matrices wait for each other, for very long if a
    processor has other work, and one search already reads as fast as the memory gives.
    """
    return np.stack([rows @ query for query in queries]) if len(queries) else np.empty((0, len(rows)), np.float32)


def _as_float32(rows: NDArray[Any]) -> Floats:
    """Finite numbers as float32: many times faster than numpy converts them.

    Exponent and fraction are moved to where float32 has them; the scale makes up for the bias of the exponent.
    """
    if rows.dtype == np.float32:
        return rows
    bits = rows.view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= _KEPT_BITS
    scaled = bits.view(np.float32)
    scaled *= _SCALE
    return scaled


class _Best:
    """The best rows of each query so far. Of most chunks, no score is as high as the lowest of them."""

    def __init__(self, queries: int, k: int) -> None:
        self._k = k
        self._places = [np.empty(0, dtype=np.int64)] * queries
        self._scores = [np.empty(0, dtype=np.float32)] * queries
        self._least = [-np.inf] * queries

    def add(self, scores: Floats, places: NDArray[np.int64], blocked: NDArray[np.bool_]) -> None:
        """Take rows into account: `scores` of shape (queries, rows)."""
        for query, row in enumerate(scores):
            new = np.flatnonzero(row > self._least[query])
            new = new[~blocked[new]]
            if not len(new) or self._k <= 0:
                continue
            merged = np.concatenate([self._scores[query], row[new]])
            where = np.concatenate([self._places[query], places[new]])
            if len(merged) > self._k:
                top = np.argpartition(merged, -self._k)[-self._k :]
                merged, where = merged[top], where[top]
            self._scores[query], self._places[query] = merged, where
            if len(merged) == self._k:
                self._least[query] = float(merged.min())

    def sorted(self) -> list[tuple[NDArray[np.int64], Floats]]:
        """For each query the rows and their scores, best first; among equals the older row first."""
        ordered = []
        for places, scores in zip(self._places, self._scores, strict=True):
            order = np.lexsort((places, -scores))
            ordered.append((places[order], scores[order]))
        return ordered
