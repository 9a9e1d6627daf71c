"""Item weights for a model version: those of EASE, cut to the largest of each item."""

from array import array

import numpy as np

from model_store.data.dataset import Dataset
from model_store.evaluate.ease import RIDGE, Ease, EaseMemoryError
from model_store.evaluate.likes import Likes
from model_store.evaluate.protocol import liked_by
from model_store.item_models.item_weights import ItemWeights
from model_store.memory import GIB, free_bytes
from model_store.progress import Report, quiet

PER_ITEM = 200
"""Weights kept for each item, by their size: what fewer and more are worth is in docs/blend.md."""
MAX_ITEMS = 20_000
"""The most liked items. EASE of so many takes 1.6 GB of memory."""
_COLUMNS_AT_ONCE = 256
_BYTES_PER_ITEM = 20 * 2**10
"""Beside the matrix. Measured were 11 KiB, with 15 likes an item; more likes fill more of the sparse products."""


def needed_bytes(items: int) -> int:
    """Memory, in bytes, to learn the weights of so many items: the matrix of EASE in float32, and blocks of it."""
    return 4 * items**2 + _BYTES_PER_ITEM * items


def require_item_weight_memory(dataset: Dataset, max_items: int = MAX_ITEMS) -> None:
    """Check before hours of training that item weights can be learned after them.

    Raises:
        EaseMemoryError: more memory is needed than is free.
    """
    liked = {item for items in liked_by(dataset, "train") for item in items}
    count, free = min(max_items, len(liked)), free_bytes()
    if free is not None and (needed := needed_bytes(count)) > free:
        raise EaseMemoryError(
            f"the item weights of {count:,} liked items need about {needed / GIB:.1f} GiB of memory, and "
            f"{free / GIB:.1f} GiB are free: free more, or drop rare items with tastestream data prepare --k-core 5"
        )


def _fitting(items: int) -> int:
    """How many of so many items the free memory is enough for."""
    free = free_bytes()
    if free is None or needed_bytes(items) <= free:
        return items
    return int(((_BYTES_PER_ITEM**2 + 16 * free) ** 0.5 - _BYTES_PER_ITEM) / 8)


def learn_item_weights(
    likes: Likes,
    report: Report = quiet,
    *,
    per_item: int = PER_ITEM,
    ridge: float = RIDGE,
    max_items: int = MAX_ITEMS,
) -> ItemWeights:
    """The weights of EASE for each item, without those that are 0.

    With too little memory for all, they are learned for as many of the most liked items as it is enough for: what a
    long training has made is not lost. `require_item_weight_memory` refuses that before a training.

    Args:
        report: is told of the beginning and the end: for 20,000 items they are a minute or two apart.
        per_item: weights kept for an item.
        max_items: how many of the most liked items.

    Raises:
        EaseMemoryError: not enough memory.
    """
    wanted = min(max_items, len(likes.items))
    count = _fitting(wanted)
    short = "" if count == wanted else f", of {wanted:,} that there is no memory for"
    report("item weights", 0, f"of {count:,} items{short}")
    ease = Ease(likes, ridge=ridge, max_items=count)
    every = np.arange(len(ease.kept))
    starts, others, weights = array("I", [0]), array("I"), array("f")
    for first in range(0, len(every), _COLUMNS_AT_ONCE):
        for row in ease.weights(every, every[first : first + _COLUMNS_AT_ONCE]).T:
            kept = np.argpartition(-np.abs(row), per_item)[:per_item] if per_item < len(row) else every
            kept = np.sort(kept[row[kept] != 0])
            others.extend(kept.tolist())
            weights.extend(row[kept].tolist())
            starts.append(len(others))
    report("item weights", 1, f"{len(others):,} weights of {count:,} items{short}")
    return ItemWeights(tuple(likes.items[column] for column in ease.kept), starts, others, weights)
