"""How an index takes over the changes that Redis has of it."""

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from service.index.vector_index import VectorIndex, WrongVectors
from service.logs import get_logger
from service.metrics import Metrics
from service.state.embeddings import REMEMBERED_S, Change

log = get_logger(__name__)
TRUSTED_S = REMEMBERED_S * 0.9
"""The age up to which an index is brought up to date; of an older one, removals may have been forgotten."""


def dimensions_of(changes: Sequence[Change]) -> int | None:
    """The length of the first vector; None if there is none."""
    return next((len(change.vector) // 2 for change in changes if change.vector is not None), None)


def apply(changes: Sequence[Change], index: VectorIndex, metrics: Metrics) -> None:
    """Add and remove vectors, and count them. Vectors that don't fit are left out, with a warning.

    Raises:
        IndexUnavailable: the server that keeps the index failed; some of the changes may have been applied.
    """
    gone = [change.item_id for change in changes if change.vector is None]
    new = [change for change in changes if change.vector is not None]
    refused = _upsert(index, new)
    index.remove(gone)
    for outcome, number in (("upserted", len(new) - refused), ("removed", len(gone)), ("refused", refused)):
        metrics.index_changes.labels(outcome).inc(number)
    if refused:
        log.warning("vectors_refused", index=index.version, vectors=refused)


def _upsert(index: VectorIndex, changes: list[Change]) -> int:
    """Add the vectors that fit; returns how many do not."""
    width = index.dimensions * 2
    fitting = [change for change in changes if len(change.vector or b"") == width]
    rows: NDArray[np.float16] = np.frombuffer(b"".join(one.vector or b"" for one in fitting), dtype=np.float16)
    matrix = rows.reshape(len(fitting), index.dimensions)
    finite = np.asarray(np.isfinite(matrix).all(axis=1))
    kept = [change.item_id for change, good in zip(fitting, finite, strict=True) if good]
    if kept:
        with suppress(WrongVectors):
            index.upsert(kept, matrix[finite])
    return len(changes) - len(kept)
