"""Vectors of items that a request reads together, so that comparing them is no I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from service.index.vector_index import Floats, VectorIndex


@dataclass(frozen=True, slots=True)
class Rows:
    """
    Args:
        matrix: of shape (rows, dimensions).
        places: the row of each item that has a vector.
        unavailable: they could not be read, so it is not known which items have one.
    """

    matrix: Floats
    places: Mapping[str, int]
    unavailable: bool = False

    @classmethod
    def read(cls, index: VectorIndex, ids: Sequence[str]) -> Self:
        """The vectors of the items that have one; see `VectorIndex.rows`. Blocks."""
        distinct = list(dict.fromkeys(ids))
        matrix, known = index.rows(distinct)
        return cls(matrix, {distinct[place]: place for place in np.flatnonzero(known).tolist()})

    def of(self, ids: Sequence[str]) -> tuple[Floats, NDArray[np.bool_]]:
        """The vectors of items, of shape (ids, dimensions), and which of the items have one; the others have zeros."""
        places = np.array([self.places.get(item, -1) for item in ids], dtype=np.int64)
        known = places >= 0
        found = np.zeros((len(ids), self.matrix.shape[1]), dtype=np.float32)
        found[known] = self.matrix[places[known]]
        return found, known


NO_ROWS = Rows(np.zeros((0, 1), dtype=np.float32), {})
UNAVAILABLE = Rows(NO_ROWS.matrix, {}, unavailable=True)
