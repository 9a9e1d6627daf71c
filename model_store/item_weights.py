"""How much each item speaks for another: the largest weights of an item-item model, which a model version carries.

The file is in the safetensors format. Its tensors are the rows of a sparse matrix (CSR), one row for each candidate;
the metadata `items` has the item ids in the order of the rows, as JSON:

    starts   U32 (items + 1)   where each row starts
    others   U32 (weights)     the items of a row, as places in `items`, ascending
    weights  F32 (weights)     their weights for the row's item, of either sign

Gateways read it with the standard library: they have neither numpy nor the library of the format.
"""

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from math import fsum, isfinite

from model_store.array_file import F32, U32, ItemArrays, Kind
from model_store.errors import UserError

MAX_BYTES = 64 * 2**20
"""Of a file, and about what it takes in memory. 20,000 items with 200 weights each have 31 MiB."""
_KINDS: dict[str, Kind] = {"starts": U32, "others": U32, "weights": F32}


class ItemWeightsError(UserError):
    """A file of item weights is malformed or too large; the message names the file and the field."""


def _file() -> ItemArrays:
    return ItemArrays("item weights", _KINDS, MAX_BYTES, ItemWeightsError)


@dataclass(frozen=True)
class ItemWeights:
    """The rows of the sparse matrix, as in the file. Without arguments, no item has a weight for any other."""

    items: Sequence[str] = ()
    starts: "array[int]" = field(default_factory=lambda: array("I", [0]))
    others: "array[int]" = field(default_factory=lambda: array("I"))
    weights: "array[float]" = field(default_factory=lambda: array("f"))

    def score(self, recents: Sequence[str], candidates: Sequence[str]) -> list[float]:
        """Summed weights of the distinct recents for each candidate, of either sign; 0 where nothing is known."""
        near = {self._places[item] for item in recents if item in self._places}
        return [self._sum(near, self._places.get(item)) if near else 0.0 for item in candidates]

    def _sum(self, near: set[int], place: int | None) -> float:
        if place is None:
            return 0.0
        start, end = self.starts[place], self.starts[place + 1]
        found = near.intersection(self.others[start:end])
        return fsum(self.weights[bisect_left(self.others, other, start, end)] for other in found)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {item: place for place, item in enumerate(self.items)}

    def dump(self) -> bytes:
        """The content of the file.

        Raises:
            ItemWeightsError: it would be larger than `MAX_BYTES`.
        """
        return _file().dump(self.items, {name: getattr(self, name) for name in _KINDS})

    @classmethod
    def parse(cls, content: bytes, where: str) -> "ItemWeights":
        """Read the content of a file; `where` names it in errors.

        Raises:
            ItemWeightsError: it is too large, or malformed.
        """
        items, arrays = _file().parse(content, where)
        found = cls(items, **arrays)
        if fault := found._fault():
            raise ItemWeightsError(f"{where}: {fault}")
        return found

    def _fault(self) -> str | None:
        """What makes the rows unusable, if anything does."""
        if len(self._places) != len(self.items):
            return "items has an item twice"
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
