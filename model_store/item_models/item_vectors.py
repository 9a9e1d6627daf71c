"""Which items follow which in histories: a vector for each item, from which a gateway computes scores.

The score of candidate c after the recents r_1 (the latest), r_2, ... is

    v_c . (w_1 v_{r_1} + w_2 v_{r_2} + ...) / sqrt(w_1 + w_2 + ...)

with a vector v for each item and a weight w for each position. Differences between candidates are log-odds: how much
more often one follows these recents than it follows others. What is popular anyway is no part of it.

The file (`item_model`) has the vectors `vectors` F32 (items * dimensions), item by item, and `positions` F32. 20,000
items of 64 dimensions have 5 MB.
"""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, sqrt
from operator import mul
from typing import ClassVar

import numpy as np

from model_store.item_models.item_model import F32, Floats, ItemModel, Kind

_ITEMS_CHECKED_AT_ONCE = 512


@dataclass(frozen=True)
class ItemVectors(ItemModel):
    """The vectors as in the file. Without arguments, no item has one."""

    title: ClassVar[str] = "item vectors"
    kinds: ClassVar[Mapping[str, Kind]] = {"vectors": F32, "positions": F32}
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
        """
        taste = self._taste(recents)
        if taste is None:
            return [0.0] * len(candidates)
        places = [self._places.get(item) for item in candidates]
        return [0.0 if place is None else sum(map(mul, taste, self._vector(place))) for place in places]

    def score_all(self, recents: Sequence[str]) -> Floats:
        taste = self._taste(recents)
        if taste is None:
            return np.zeros(len(self.items), dtype=np.float32)
        rows = np.frombuffer(self.vectors, dtype=np.float32).reshape(len(self.items), -1)
        scores: Floats = rows @ np.array(taste, dtype=np.float32)
        return scores

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

    def _fault(self) -> str | None:
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
