"""Learns the item models of a version from the likes of the training users of a data set."""

from model_store.data.dataset import Dataset
from model_store.evaluate.item_vectors import learn_item_vectors
from model_store.evaluate.item_weights import PER_ITEM, learn_item_weights
from model_store.evaluate.likes import Likes
from model_store.evaluate.protocol import liked_by
from model_store.item_models.item_models import ItemModels
from model_store.progress import Report, quiet


def learn_item_models(
    dataset: Dataset, report: Report = quiet, *, known: ItemModels | None = None, per_item: int = PER_ITEM
) -> ItemModels:
    """Learn each item model, but for those that are `known`: these are None in the result.

    Args:
        per_item: weights kept for an item.

    Raises:
        EaseMemoryError: not enough memory.
    """
    known, liked = known or ItemModels(), list(liked_by(dataset, "train"))
    weights, vectors = known.item_weights, known.item_vectors
    return ItemModels(
        item_weights=learn_item_weights(Likes(liked), report, per_item=per_item) if weights is None else None,
        item_vectors=learn_item_vectors(liked, report=report) if vectors is None else None,
    )
