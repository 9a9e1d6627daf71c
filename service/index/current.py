"""How a request gets the index of its tenant."""

from typing import Protocol

from service.index.vector_index import VectorIndex


class Vectors(Protocol):
    """Gives the index that is in use. A request takes it once, so that no request mixes versions."""

    def current(self) -> VectorIndex | None:
        """The index to search in; None if there is none, or none yet."""
        ...


class NoVectors:
    """Of a tenant without an embedder."""

    def current(self) -> VectorIndex | None:
        return None
