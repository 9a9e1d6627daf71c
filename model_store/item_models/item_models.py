"""The item models of a model version, and what they say of candidates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from model_store.item_models.item_model import ItemModel
from model_store.item_models.item_vectors import ItemVectors
from model_store.item_models.item_weights import ItemWeights


class ItemScores(NamedTuple):
    """What the item models say of one candidate, of either sign; 0 where they know nothing."""

    item_weights: float = 0.0
    item_vectors: float = 0.0

    @classmethod
    def of(cls, features: Mapping[str, float | None]) -> "ItemScores":
        """Those among features by name, of which a missing one counts 0."""
        return cls(*(features.get(name) or 0.0 for name in cls._fields))


@dataclass(frozen=True, slots=True)
class ItemModels:
    """None for those that the version does not have. Manifests and `ItemScores` have fields of the same names."""

    item_weights: ItemWeights | None = None
    item_vectors: ItemVectors | None = None

    def score(self, recents: Sequence[str], candidates: Sequence[str]) -> list[ItemScores]:
        """The scores of each candidate.

        Args:
            recents: distinct item ids, oldest first.
        """
        nothing = [0.0] * len(candidates)
        columns = [nothing if one is None else one.score(recents, candidates) for one in self._all().values()]
        return [ItemScores(*row) for row in zip(*columns, strict=True)]

    def filled(self, others: "ItemModels") -> "ItemModels":
        """These, and those of `others` that are missing here."""
        return ItemModels(self.item_weights or others.item_weights, self.item_vectors or others.item_vectors)

    def present(self) -> dict[str, ItemModel]:
        """Those that the version has, by name."""
        return {name: one for name, one in self._all().items() if one is not None}

    def _all(self) -> dict[str, ItemModel | None]:
        return {name: getattr(self, name) for name in ITEM_MODELS}


ITEM_MODELS: dict[str, type[ItemModel]] = {"item_weights": ItemWeights, "item_vectors": ItemVectors}
"""The class of each, by name, in the order of the fields of `ItemModels` and of `ItemScores`."""
