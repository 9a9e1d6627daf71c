"""A double of an index on a server, which fails when a test says so."""

import threading
from collections.abc import Collection, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from service.index.vector_index import Floats, Found, IndexUnavailable, VectorIndex


class Remote(VectorIndex):
    """Answers as another index does, or not at all.

    Attributes:
        fault: what happens to calls from now on; a call that hangs ends with `release`.
        threads: those in which it was called.
    """

    remote: ClassVar[bool] = True

    def __init__(self, index: VectorIndex) -> None:
        super().__init__(index.version, index.dimensions)
        self._index = index
        self._released = threading.Event()
        self.fault: Literal["none", "fails", "hangs"] = "none"
        self.threads: set[threading.Thread] = set()

    def release(self) -> None:
        self._released.set()

    def __len__(self) -> int:
        return len(self._index)

    def upsert(self, ids: Sequence[str], vectors: NDArray[np.floating[Any]]) -> None:
        self._index.upsert(ids, vectors)

    def remove(self, ids: Collection[str]) -> None:
        self._index.remove(ids)

    def search(
        self,
        queries: NDArray[np.floating[Any]],
        k: int,
        *,
        allowed: Collection[str] | None = None,
        excluded: Collection[str] = (),
    ) -> list[Found]:
        self._called()
        return self._index.search(queries, k, allowed=allowed, excluded=excluded)

    def rows(self, ids: Sequence[str]) -> tuple[Floats, NDArray[np.bool_]]:
        self._called()
        return self._index.rows(ids)

    def _called(self) -> None:
        self.threads.add(threading.current_thread())
        if self.fault == "hangs":
            self._released.wait(60)
        if self.fault != "none":
            raise IndexUnavailable("it fails")
