"""Which items follow which in histories: a vector for each item, from which a gateway computes scores.

The score of candidate c after the recents r_1 (the latest), r_2, ... is

    v_c . (w_1 v_{r_1} + w_2 v_{r_2} + ...) / sqrt(w_1 + w_2 + ...)

with a vector v for each item and a weight w for each position. Differences between candidates are log-odds: how much
more often one follows these recents than it follows others. What is popular anyway is no part of it.

The file (`array_file`) has the tensors `vectors` F32 (items * dimensions), item by item, and `positions` F32. Its
metadata `items` has the item ids in the order of the vectors, as JSON.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite, sqrt
from operator import mul

from model_store.array_file import F32, ItemArrays, Kind
from model_store.errors import UserError

MAX_BYTES = 64 * 2**20
"""Of a file. 20,000 items of 64 dimensions have 5 MB."""
_KINDS: dict[str, Kind] = {"vectors": F32, "positions": F32}
_ITEMS_CHECKED_AT_ONCE = 512


class ItemVectorsError(UserError):
    """A file of item vectors is malformed or too large; the message names the file and the field."""


def _file() -> ItemArrays:
    return ItemArrays("item vectors", _KINDS, MAX_BYTES, ItemVectorsError)


@dataclass(frozen=True)
class ItemVectors:
    """The vectors as in the file. Without arguments, no item has one."""

    items: Sequence[str] = ()
    vectors: "array[float]" = field(default_factory=lambda: array("f"))
    """Those of all items, one after the other."""
    positions: "array[float]" = field(default_factory=lambda: array("f"))
    """The weight of the latest recent, of the one before, ...; older ones have none."""

    @property
    def dimensions(self) -> int:
        return len(self.vectors) // len(self.items) if self.items else 0

    def score(self, recents: Sequence[str], candidates: Sequence[str]) -> list[float]:
        """The score of each candidate, of either sign.

        0, that is neither more nor less often than after other recents, for a candidate without a vector, and for all
        if no recent has one. Recents without a vector take no position.

        Args:
            recents: distinct item ids, oldest first.
        """
        taste = self._taste(recents)
        if taste is None:
            return [0.0] * len(candidates)
        places = [self._places.get(item) for item in candidates]
        return [0.0 if place is None else sum(map(mul, taste, self._vector(place))) for place in places]

    def _taste(self, recents: Sequence[str]) -> list[float] | None:
        """The weighted sum of the recents' vectors; None if there are none."""
        known = [self._places[item] for item in reversed(recents) if item in self._places]
        weighted = list(zip(self.positions, known, strict=False))
        total = sum(weight for weight, _ in weighted)
        if total <= 0:
            return None
        taste = [0.0] * self.dimensions
        for weight, place in weighted:
            share = weight / sqrt(total)
            taste = [one + share * other for one, other in zip(taste, self._vector(place), strict=True)]
        return taste

    def _vector(self, place: int) -> "array[float]":
        start = place * self.dimensions
        return self.vectors[start : start + self.dimensions]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {item: place for place, item in enumerate(self.items)}

    def dump(self) -> bytes:
        """The content of the file.

        Raises:
            ItemVectorsError: it would be larger than `MAX_BYTES`.
        """
        return _file().dump(self.items, {name: getattr(self, name) for name in _KINDS})

    @classmethod
    def parse(cls, content: bytes, where: str) -> "ItemVectors":
        """Read the content of a file; `where` names it in errors.

        Raises:
            ItemVectorsError: it is too large, or malformed.
        """
        items, arrays = _file().parse(content, where)
        found = cls(items, **arrays)
        if fault := found._fault():
            raise ItemVectorsError(f"{where}: {fault}")
        return found

    def _fault(self) -> str | None:
        """What makes the vectors unusable, if anything does."""
        if len(self._places) != len(self.items):
            return "items has an item twice"
        if len(self.vectors) != self.dimensions * len(self.items) or (self.items and not self.vectors):
            return "vectors must have the same number of dimensions for each item"
        if not all(isfinite(weight) and weight >= 0 for weight in self.positions):
            return "positions must be finite numbers from 0"
        # In parts: one call over millions of numbers would stop the other threads of a gateway.
        step = _ITEMS_CHECKED_AT_ONCE * max(1, self.dimensions)
        for start in range(0, len(self.vectors), step):
            if not all(map(isfinite, self.vectors[start : start + step])):
                return "vectors must be finite numbers"
        return None
