"""How much each item speaks for another: the largest weights of an item-item model.

The vectors of the file (`item_model`) are the rows of a sparse matrix (CSR), one row for each candidate in the order of
`items`:

    starts   U32 (items + 1)   where each row starts
    others   U32 (weights)     the items of a row, as places in `items`, ascending
    weights  F32 (weights)     their weights for the row's item, of either sign

20,000 items with 200 weights each have 31 MiB.
"""

from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from math import fsum, isfinite
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from model_store.item_models.item_model import F32, U32, Floats, ItemModel, Kind


class _Columns(NamedTuple):
    """For each item where its column starts; the rows, and the weights, of all columns one after the other."""

    starts: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int32]
    weights: Floats


@dataclass(frozen=True)
class ItemWeights(ItemModel):
    """The rows of the sparse matrix, as in the file. Without arguments, no item has a weight for any other."""

    title: ClassVar[str] = "item weights"
    kinds: ClassVar[Mapping[str, Kind]] = {"starts": U32, "others": U32, "weights": F32}
    starts: "array[int]" = field(default_factory=lambda: array("I", [0]))
    others: "array[int]" = field(default_factory=lambda: array("I"))
    weights: "array[float]" = field(default_factory=lambda: array("f"))

    def score(self, recents: Sequence[str], candidates: Sequence[str]) -> list[float]:
        """Summed weights of the distinct recents for each candidate, of either sign; 0 where nothing is known."""
        near = {self._places[item] for item in recents if item in self._places}
        return [self._sum(near, self._places.get(item)) if near else 0.0 for item in candidates]

    def score_all(self, recents: Sequence[str]) -> Floats:
        near = sorted({self._places[item] for item in recents if item in self._places})
        columns = self._columns
        spans = [slice(*columns.starts[place : place + 2]) for place in near]
        if not spans:
            return np.zeros(len(self.items), dtype=np.float32)
        rows = np.concatenate([columns.rows[span] for span in spans])
        weights = np.concatenate([columns.weights[span] for span in spans])
        return np.bincount(rows, weights, len(self.items)).astype(np.float32)

    @cached_property
    def _columns(self) -> _Columns:
        """The transposed matrix, made at the first use."""
        starts, others = np.asarray(self.starts, dtype=np.int64), np.asarray(self.others, dtype=np.int64)
        order = np.argsort(others, kind="stable")
        rows = np.repeat(np.arange(len(self.items)), np.diff(starts))
        ends = np.cumsum(np.bincount(others, minlength=len(self.items)))
        weights = np.asarray(self.weights, dtype=np.float32)
        return _Columns(np.concatenate([[0], ends]), rows[order].astype(np.int32), weights[order])

    def _sum(self, near: set[int], place: int | None) -> float:
        if place is None:
            return 0.0
        start, end = self.starts[place], self.starts[place + 1]
        found = near.intersection(self.others[start:end])
        return fsum(self.weights[bisect_left(self.others, other, start, end)] for other in found)

    def _fault(self) -> str | None:
        if len(self.starts) != len(self.items) + 1 or self.starts[0] != 0 or self.starts[-1] != len(self.others):
            return "starts must have a row for each item, from 0 to the number of weights"
        if len(self.weights) != len(self.others):
            return "weights must be as many as others"
        if any(start > end for start, end in pairwise(self.starts)):
            return "starts must ascend"
        # Row by row: one call over millions of numbers would stop the other threads of a gateway.
        for start, end in pairwise(self.starts):
            row = self.others[start:end]
            if any(one >= other for one, other in pairwise(row)):
                return "others must ascend within a row"
            if row and row[-1] >= len(self.items):
                return "others names a place that items does not have"
            if not all(map(isfinite, self.weights[start:end])):
                return "weights must be finite numbers"
        return None
