"""The features of a data set's pictures."""

from collections.abc import Sequence
from pathlib import Path

import torch

from model_store.msr.parts.encoder import FrozenVision
from model_store.msr.parts.picture_chunks import Arrays, encode_once
from model_store.progress import Report


def picture_features(
    vision: FrozenVision, key: str, images: Sequence[Path], grid: tuple[int, int], folder: Path, progress: Report
) -> torch.Tensor:
    """`vision.cells` of all pictures, of shape (pictures, cells, features), float16, kept in `folder`.

    Args:
        key: identifies the vision encoder.
        grid: rows and columns of cells.

    Raises:
        DatasetError: a picture can't be read.
    """

    def encode(pictures: Sequence[bytes]) -> Arrays:
        return {"cells": vision.cells(pictures, *grid).numpy()}

    return torch.from_numpy(encode_once(images, encode, folder, f"{key} {grid}", progress)["cells"])
