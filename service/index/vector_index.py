"""What an index of item vectors can do, however it does it."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Found(NamedTuple):
    """The items nearest to one query, best first, with their scores (dot products), of shape (found,)."""

    ids: list[str]
    scores: Floats


class WrongVectors(ValueError):
    """Vectors of another width than the index, or with numbers that are not finite."""


class IndexUnavailable(Exception):
    """The server that keeps an index can't be reached, is too slow, or refuses."""


class VectorIndex(ABC):
    """The vectors that one version of an embedder made. All methods block; they may be called from several threads.

    Every method of an index that is kept by a server may raise IndexUnavailable.

    Args:
        version: the version's id.
        dimensions: the length of a vector.

    Attributes:
        remote: kept by a server, so that calls wait more than they compute.
    """

    remote: ClassVar[bool] = False

    def __init__(self, version: str, dimensions: int) -> None:
        self.version = version
        self.dimensions = dimensions

    @abstractmethod
    def __len__(self) -> int:
        """The number of items."""

    @abstractmethod
    def upsert(self, ids: Sequence[str], vectors: NDArray[np.floating[Any]]) -> None:
        """Add items with their vectors, of shape (ids, dimensions), or replace those they have.

        Raises:
            WrongVectors: nothing was changed.
        """

    @abstractmethod
    def remove(self, ids: Collection[str]) -> None:
        """Remove those of the items that are in the index."""

    @abstractmethod
    def search(
        self,
        queries: NDArray[np.floating[Any]],
        k: int,
        *,
        allowed: Collection[str] | None = None,
        excluded: Collection[str] = (),
    ) -> list[Found]:
        """For each query, the `k` items with the highest scores, or fewer if there are not as many.

        Args:
            queries: of shape (queries, dimensions).
            allowed: only these items; None for all.
            excluded: not these.

        Raises:
            WrongVectors: the queries have another width.
        """

    @abstractmethod
    def rows(self, ids: Sequence[str]) -> tuple[Floats, NDArray[np.bool_]]:
        """The vectors of items, of shape (ids, dimensions), and which of the items have one; the others have zeros."""

    def save(self, path: Path, note: Mapping[str, Any]) -> None:  # noqa: B027 - most are kept by a server
        """Write a file that `ExactIndex.load` reads, with a note in JSON; nothing if a server keeps the vectors."""

    def checked(self, vectors: NDArray[np.floating[Any]], count: int | None = None) -> NDArray[np.floating[Any]]:
        """The vectors. Raises WrongVectors if they don't fit; `count` is how many there should be."""
        if vectors.ndim != 2 or vectors.shape[1] != self.dimensions or count not in (None, len(vectors)):
            raise WrongVectors(f"vectors of the shape {vectors.shape} in an index of {self.dimensions} dimensions")
        if not np.isfinite(vectors).all():
            raise WrongVectors("vectors with numbers that are not finite")
        return vectors
