"""What the frozen vision encoder says about the pictures of a data set."""

from collections.abc import Sequence
from pathlib import Path

import torch

from model_store.msr.parts.picture_chunks import Arrays, encode_once
from model_store.notellm2.vision import Seen, Vision
from model_store.progress import Report


def look_at_all(vision: Vision, images: Sequence[Path], folder: Path, progress: Report) -> Seen:
    """Cells and features of all pictures, float16, kept in `folder`.

    Raises:
        DatasetError: a picture can't be read.
    """

    def encode(pictures: Sequence[bytes]) -> Arrays:
        return {name: tensor.numpy() for name, tensor in vision.encode(pictures)._asdict().items()}

    found = encode_once(images, encode, folder, vision.key, progress)
    return Seen(torch.from_numpy(found["cells"]), torch.from_numpy(found["feature"]))
