"""What a frozen encoder says about the pictures of a data set, computed once: it never changes."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model_store.data.dataset import DatasetError
from model_store.pictures import UNREADABLE, PictureSize, fit_picture
from model_store.progress import Report

Arrays = Mapping[str, npt.NDArray[np.floating]]
_CHUNK = 128


def encode_once(
    images: Sequence[Path], encode: Callable[[Sequence[bytes]], Arrays], folder: Path, key: str, progress: Report
) -> Arrays:
    """What `encode` says about all pictures, by name, float16, of shape (pictures, ...).

    Finished chunks are kept in `folder`: an interrupted run continues with the next one.

    Args:
        encode: takes encoded pictures, and returns arrays whose first dimension counts them.
        key: identifies the encoder and its options.

    Raises:
        DatasetError: a picture can't be read. It is not replaced by zeros.
    """
    stats = "".join(f"{path.name} {path.stat().st_size}\n" for path in images)
    digest = hashlib.sha256(f"{key}\n{stats}".encode()).hexdigest()
    kept = folder / f"seen-{digest[:16]}"
    kept.mkdir(parents=True, exist_ok=True)
    chunks: list[Arrays] = []
    for start in range(0, len(images), _CHUNK):
        path = kept / f"{start:08d}.npz"
        if not path.exists():
            found = _encoded(images[start : start + _CHUNK], encode)
            halves: dict[str, Any] = {name: array.astype(np.float16) for name, array in found.items()}
            with (new := path.with_suffix(".new")).open("wb") as file:
                np.savez(file, **halves)
            new.replace(path)
        with np.load(path) as arrays:
            chunks.append(dict(arrays))
        progress("pictures", min(1.0, (start + _CHUNK) / len(images)), "")
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _encoded(images: Sequence[Path], encode: Callable[[Sequence[bytes]], Arrays]) -> Arrays:
    pictures = [_read(image) for image in images]
    try:
        return encode(pictures)
    except UNREADABLE:
        for image, picture in zip(images, pictures, strict=True):
            _require_picture(image, picture)
        raise


def _require_picture(path: Path, picture: bytes) -> None:
    try:
        fit_picture(picture, PictureSize())
    except UNREADABLE:
        raise DatasetError(f"{path} is damaged, or no picture: replace it, or remove the `image` of its item") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} can't be read: {error.strerror}") from None
