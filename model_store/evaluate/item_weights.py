"""Item weights for a model version: those of EASE, cut to the largest of each item."""

from array import array

import numpy as np

from model_store.evaluate.ease import RIDGE, Ease
from model_store.evaluate.likes import Likes
from model_store.item_weights import ItemWeights
from model_store.progress import Report, quiet

PER_ITEM = 200
"""Weights kept for each item, by their size: what fewer and more are worth is in docs/blend.md."""
MAX_ITEMS = 20_000
"""The most liked items. EASE of so many takes 1.6 GB of memory."""
_COLUMNS_AT_ONCE = 256


def learn_item_weights(
    likes: Likes,
    report: Report = quiet,
    *,
    per_item: int = PER_ITEM,
    ridge: float = RIDGE,
    max_items: int = MAX_ITEMS,
) -> ItemWeights:
    """The weights of EASE for each item, without those that are 0.

    Args:
        report: is told of the beginning and the end: for 20,000 items they are a minute or two apart.
        per_item: weights kept for an item.
        max_items: how many of the most liked items.

    Raises:
        EaseMemoryError: not enough memory.
    """
    report("item weights", 0, f"of {min(max_items, len(likes.items)):,} items")
    ease = Ease(likes, ridge=ridge, max_items=max_items)
    every = np.arange(len(ease.kept))
    starts, others, weights = array("I", [0]), array("I"), array("f")
    for first in range(0, len(every), _COLUMNS_AT_ONCE):
        for row in ease.weights(every, every[first : first + _COLUMNS_AT_ONCE]).T:
            kept = np.argpartition(-np.abs(row), per_item)[:per_item] if per_item < len(row) else every
            kept = np.sort(kept[row[kept] != 0])
            others.extend(kept.tolist())
            weights.extend(row[kept].tolist())
            starts.append(len(others))
    report("item weights", 1, f"{len(others):,} weights")
    return ItemWeights(tuple(likes.items[column] for column in ease.kept), starts, others, weights)
