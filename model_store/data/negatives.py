"""Negatives for training: items that a user never met."""

import random
from collections.abc import Container, Mapping
from itertools import accumulate
from typing import Generic, TypeVar

Item = TypeVar("Item")
_TRIES = 50
"""For each negative: a user who met nearly everything gets fewer than wanted."""


class Negatives(Generic[Item]):
    """Draws items, a share of them by how many training users liked them, the others evenly.

    Args:
        likes: how many users liked each item of the catalogue.
        popular: the share that is drawn by likes, 0..1.
    """

    def __init__(self, likes: Mapping[Item, int], popular: float) -> None:
        self._items = list(likes)
        self._popularity = list(accumulate(likes.values()))
        self._popular = popular if any(likes.values()) else 0.0

    def __call__(self, known: Container[Item], count: int, rng: random.Random) -> list[Item]:
        """Up to `count` different items outside `known`."""
        found: list[Item] = []
        for _ in range(_TRIES * count):
            if len(found) == count:
                break
            if rng.random() < self._popular:
                item = rng.choices(self._items, cum_weights=self._popularity)[0]
            else:
                item = rng.choice(self._items)
            if item not in known and item not in found:
                found.append(item)
        return found
