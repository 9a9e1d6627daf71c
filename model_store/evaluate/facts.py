"""Which data an evaluation used."""

import hashlib
from pathlib import Path

from model_store.data import text_files
from model_store.data.dataset import INTERACTIONS, ITEMS, Dataset
from model_store.evaluate.results import DataFacts

_PIECE = 2**20


def data_facts(folder: Path, dataset: Dataset) -> DataFacts:
    """Counts of the dataset read from `folder`, and a hash of its items and interactions."""
    digest = hashlib.sha256()
    for name in (ITEMS, INTERACTIONS):
        with text_files.find(folder / name).open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
    return DataFacts(
        name=folder.resolve().name,
        sha256=digest.hexdigest(),
        items=len(dataset.items),
        pictures=sum(item.image is not None for item in dataset.items.values()),
        users=len(dataset.histories),
        interactions=sum(map(len, dataset.histories.values())),
    )
