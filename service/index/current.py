"""How requests of a tenant get at the vectors of its items."""

from collections.abc import Callable
from dataclasses import dataclass

from service.index.searcher import Searcher
from service.index.vector_index import VectorIndex


def no_index() -> VectorIndex | None:
    """Of a tenant without an embedder."""
    return None


@dataclass(frozen=True, slots=True)
class Vectors:
    """
    Args:
        current: the index that is in use, or None. A request calls it once, so that no request mixes versions.
        searcher: searches in threads.
    """

    current: Callable[[], VectorIndex | None]
    searcher: Searcher
