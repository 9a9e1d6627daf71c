"""Pictures on their way into a model: one resize for training and serving."""

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from PIL import Image


@dataclass(frozen=True, slots=True)
class PictureSize:
    """The size in pixels at which a model version sees every picture.

    `stretch` makes every picture exactly `width` x `height`, so that each costs the same number
    of vision tokens; `contain` keeps the proportions inside that box.
    """

    width: int = 64
    height: int = 64
    fit: Literal["stretch", "contain"] = "stretch"


def fit_picture(encoded: bytes, size: PictureSize) -> bytes:
    """Decode `encoded`, fit it to `size` and return it as PNG (lossless: training sees the same pixels).

    Raises:
        PIL.UnidentifiedImageError: the bytes are no picture.
    """
    return _fit_picture(encoded, size)


@lru_cache(maxsize=2048)
def _fit_picture(encoded: bytes, size: PictureSize) -> bytes:
    with Image.open(io.BytesIO(encoded)) as opened:
        picture = opened.convert("RGB")
    if size.fit == "stretch":
        picture = picture.resize((size.width, size.height), Image.Resampling.BICUBIC)
    else:
        picture.thumbnail((size.width, size.height), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    picture.save(out, format="PNG")
    return out.getvalue()
