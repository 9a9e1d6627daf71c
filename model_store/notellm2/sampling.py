"""Pairs of items that a training draws, and those that it is validated with."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from model_store.data.dataset import Dataset, Split
from model_store.evaluate.metrics import TargetRanks
from model_store.retrieval.cold import is_cold
from model_store.retrieval.pairs import ItemPairs

VALIDATION_PARTNERS = 10
"""Partners of an item in pairs for validation: weaker ones are mostly noise."""


def visible_likes(dataset: Dataset, split: Split, *, seed: int, cold_share: float) -> Iterator[list[str]]:
    """What each user of a split liked, oldest first, without unknown and hidden items."""
    for user in dataset.users(split):
        liked = (event.item_id for event in dataset.histories[user] if event.liked)
        yield [item for item in liked if item in dataset.items and not is_cold(item, seed, cold_share)]


class PairDraw:
    """Draws pairs, the more often the more users made them; items by their numbers in the catalogue."""

    def __init__(self, pairs: ItemPairs, number: Mapping[str, int]) -> None:
        shares = np.sqrt(pairs.strength)
        self._ends = np.cumsum(shares / shares.sum())
        self._first, self._second = pairs.numbered(number)

    def __call__(self, rng: random.Random, count: int) -> tuple[list[int], list[int]]:
        drawn = np.searchsorted(self._ends, [rng.random() for _ in range(count)])
        rows = np.minimum(drawn, len(self._ends) - 1)
        return self._first[rows].tolist(), self._second[rows].tolist()


@dataclass(frozen=True, slots=True)
class PairValidation:
    """Pairs whose second item is to be found among a pool of items.

    Attributes:
        pool: items by their numbers in the catalogue.
        targets: pairs, as places in the pool.
    """

    pool: Sequence[int]
    targets: Sequence[tuple[int, int]]

    @classmethod
    def among(cls, pairs: ItemPairs, number: Mapping[str, int], size: int, seed: int) -> Self:
        """Draw a pool of at most `size` items, half of it items of the pairs."""
        first, second = pairs.numbered(number)
        named = list(zip(first.tolist(), second.tolist(), strict=True))
        rng = random.Random(seed)  # noqa: S311
        rng.shuffle(named)
        pool = list(dict.fromkeys(item for pair in named for item in pair))[: size // 2]
        known = set(pool)
        others = [item for item in number.values() if item not in known]
        pool += rng.sample(others, min(len(others), size - len(pool)))
        place = {item: row for row, item in enumerate(pool)}
        return cls(pool, [(place[a], place[b]) for a, b in named if a in place and b in place])

    def ranks(self, vectors: torch.Tensor) -> TargetRanks:
        """How many of the other items are nearer to A than B is, and how many are as near, for each pair.

        Args:
            vectors: unit vectors of the pool, (pool, dimensions), finite.
        """
        first, second = torch.tensor(self.targets, dtype=torch.long).reshape(-1, 2).T
        near = vectors[first] @ vectors.T
        partner = near.gather(1, second[:, None])
        near[torch.arange(len(first)), first] = float("-inf")
        above, as_near = (near > partner).sum(1).numpy(), (near == partner).sum(1).numpy()
        return TargetRanks(above, as_near - 1, np.full(len(first), len(self.pool) - 2))
