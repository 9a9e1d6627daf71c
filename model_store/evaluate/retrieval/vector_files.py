"""Vectors of items from a file, in the order of a catalogue."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from model_store.errors import UserError
from model_store.retrieval.vectors import Floats


class VectorFileError(UserError):
    """A file of vectors is missing or malformed; the message names it."""


@dataclass(frozen=True)
class ItemRows:
    """The vectors of a catalogue.

    Attributes:
        vectors: shape (items, dimensions), float32, unit rows, 0 for an item without one.
        known: which items have one, shape (items,).
    """

    items: Sequence[str]
    vectors: Floats
    known: npt.NDArray[np.bool_]

    def has(self, item: str) -> bool:
        return item in self._places

    def of(self, items: Sequence[str]) -> Floats:
        """The vectors of items that have one, shape (n, dimensions)."""
        places = np.array([self._places[item] for item in items], dtype=np.int64)
        return self.vectors[places]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {item: place for place, item in enumerate(self.items) if self.known[place]}


def item_rows(items: Sequence[str], ids: Sequence[str], vectors: npt.NDArray[np.floating]) -> ItemRows:
    """The unit vectors of a catalogue's items from those of `ids`, shape (ids, dimensions), in any order."""
    place = {item: number for number, item in enumerate(ids)}
    at = np.array([place.get(item, -1) for item in items], dtype=np.int64)
    rows = np.zeros((len(items), vectors.shape[1]), dtype=np.float32)
    rows[at >= 0] = vectors[at[at >= 0]]
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return ItemRows(items, np.asarray(rows / np.maximum(norms, 1e-12), dtype=np.float32), norms[:, 0] > 0)


def read_vectors(path: Path, items: Sequence[str]) -> ItemRows:
    """Read an npz file with `ids` and `vectors`, as `tastestream models embed` writes it.

    Raises:
        VectorFileError: it is missing or malformed, or has a vector of none of the items.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            ids, vectors = file["ids"], file["vectors"]
    except FileNotFoundError:
        raise VectorFileError(f"no file of vectors at {path}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, BadZipFile) as error:
        raise VectorFileError(f"{path} is no npz file with the arrays `ids` and `vectors`: {error}") from None
    if vectors.ndim != 2 or ids.ndim != 1 or len(ids) != len(vectors):
        raise VectorFileError(
            f"{path}: `ids` must have the shape (n,) and `vectors` (n, dimensions), not {ids.shape} and {vectors.shape}"
        )
    if vectors.dtype.kind != "f" or not (np.abs(vectors) <= np.finfo(np.float32).max).all():
        raise VectorFileError(f"{path}: `vectors` must be finite floating-point numbers")
    rows = item_rows(items, [str(item) for item in ids.tolist()], vectors)
    if not rows.known.any():
        raise VectorFileError(f"{path} has a vector of none of the data's items: was it made from other data?")
    return rows
