"""What the frozen vision encoder says about the pictures of a data set, computed once and kept in the run's folder."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from model_store.data.dataset import DatasetError
from model_store.notellm2.vision import Seen, Vision
from model_store.progress import Report

_CHUNK = 128


def look_at_all(vision: Vision, images: Sequence[Path], folder: Path, progress: Report) -> Seen:
    """Cells and features of all pictures, float16. Finished chunks stay in `folder`, and an interrupted run goes on.

    Raises:
        DatasetError: a picture can't be read. It is not replaced by zeros.
    """
    stats = "".join(f"{path.name} {path.stat().st_size}\n" for path in images)
    digest = hashlib.sha256(f"{vision.key}\n{stats}".encode()).hexdigest()
    kept = folder / f"seen-{digest[:16]}"
    kept.mkdir(parents=True, exist_ok=True)
    chunks: list[Seen] = []
    for start in range(0, len(images), _CHUNK):
        path = kept / f"{start:08d}.npz"
        if not path.exists():
            seen = vision.encode([_read(image) for image in images[start : start + _CHUNK]])
            with (new := path.with_suffix(".new")).open("wb") as file:
                np.savez(file, cells=seen.cells.half().numpy(), feature=seen.feature.half().numpy())
            new.replace(path)
        with np.load(path) as arrays:
            chunks.append(Seen(torch.from_numpy(arrays["cells"]), torch.from_numpy(arrays["feature"])))
        progress("pictures", min(1.0, (start + _CHUNK) / len(images)), "")
    return Seen(*(torch.cat(part) for part in zip(*chunks, strict=True)))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} can't be read: {error.strerror}") from None
