"""The features of a data set's pictures, computed once: the vision encoder is frozen."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from model_store.data.dataset import DatasetError
from model_store.msr.parts.encoder import FrozenVision
from model_store.progress import Report

_CHUNK = 128


def picture_features(
    vision: FrozenVision, key: str, images: Sequence[Path], grid: tuple[int, int], folder: Path, progress: Report
) -> torch.Tensor:
    """`vision.cells` of all pictures, of shape (pictures, cells, features), float16.

    Finished chunks are kept in `folder`: an interrupted run continues with the next one.

    Args:
        key: identifies the vision encoder.
        grid: rows and columns of cells.

    Raises:
        DatasetError: a picture can't be read.
    """
    stats = "".join(f"{path.name} {path.stat().st_size}\n" for path in images)
    name = hashlib.sha256(f"{key} {grid}\n{stats}".encode()).hexdigest()[:16]
    kept = folder / f"features-{name}"
    kept.mkdir(parents=True, exist_ok=True)
    chunks = []
    for start in range(0, len(images), _CHUNK):
        path = kept / f"{start:08d}.npy"
        if not path.exists():
            cells = vision.cells([_read(image) for image in images[start : start + _CHUNK]], *grid)
            with (new := path.with_suffix(".new")).open("wb") as file:
                np.save(file, cells.half().numpy())
            new.replace(path)
        chunks.append(torch.from_numpy(np.load(path)))
        progress("pictures", min(1.0, (start + _CHUNK) / len(images)), "")
    return torch.cat(chunks)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} can't be read: {error.strerror}") from None
