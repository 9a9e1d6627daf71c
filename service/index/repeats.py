"""Which items have nearly the vector of a better one. No I/O."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.index.vector_index import Floats


def repeats(rows: Floats, known: NDArray[np.bool_], cosine: float, also: Sequence[bool] = ()) -> list[bool]:
    """For each row, whether it is nearly the same as one before it that is not.

    Args:
        rows: unit vectors, of shape (items, dimensions).
        known: which of them are vectors; an item without one repeats none.
        cosine: from which two are nearly the same.
        also: the items that are repeats for another reason, of shape (items,); by default none.
    """
    found = list(also) or [False] * len(rows)
    kept, count = np.empty_like(rows), 0
    for place in np.flatnonzero(known).tolist():
        row = rows[place]
        found[place] = found[place] or bool(count and (kept[:count] @ row).max() >= cosine)
        if not found[place]:
            kept[count] = row
            count += 1
    return found
