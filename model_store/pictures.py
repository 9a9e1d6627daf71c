"""Resizes pictures for a model, in the same way for training and serving."""

import io
from base64 import b64encode
from dataclasses import dataclass
from typing import Literal

from PIL import Image

from model_store.byte_cache import ByteCache
from model_store.colours import full_rgb


@dataclass(frozen=True, slots=True)
class PictureSize:
    """The size in pixels at which a model version sees every picture.

    `stretch` makes every picture exactly `width` x `height`, which costs the same number of vision
    tokens for each; `contain` keeps the proportions inside that box.
    """

    width: int = 64
    height: int = 64
    fit: Literal["stretch", "contain"] = "stretch"


MIN_SIDE = 32
"""In pixels, the longest unit into which vision encoders cut pictures (16 x 2 for Qwen3-VL, 14 x 2 for Qwen2.5-VL)."""
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises for bytes that are not a picture, or a damaged or a huge one."""
FITTED_BYTES = 64 * 1024 * 1024


def fit_picture(encoded: bytes, size: PictureSize) -> bytes:
    """Decode `encoded`, fit it to `size` and return it as PNG (lossless: training sees the same pixels).

    `colours` handles colour modes, transparency and orientation, as for the pictures that the service stores. Pictures
    narrower than a unit of the encoder get white margins, since servers would reject them.

    Raises:
        PIL.UnidentifiedImageError: the bytes are not a picture.
    """
    with Image.open(io.BytesIO(encoded)) as opened:
        picture = full_rgb(opened)
    if size.fit == "stretch":
        picture = picture.resize((size.width, size.height), Image.Resampling.BICUBIC)
    else:
        picture.thumbnail((size.width, size.height), Image.Resampling.BICUBIC)
        picture = _with_margins(picture, min(MIN_SIDE, size.width), min(MIN_SIDE, size.height))
    out = io.BytesIO()
    picture.save(out, format="PNG")
    return out.getvalue()


def _with_margins(picture: Image.Image, width: int, height: int) -> Image.Image:
    if picture.width >= width and picture.height >= height:
        return picture
    ground = Image.new("RGB", (max(width, picture.width), max(height, picture.height)), "white")
    ground.paste(picture, ((ground.width - picture.width) // 2, (ground.height - picture.height) // 2))
    return ground


class FittedPictures:
    """Pictures at the size of one model, as data URLs, of which the last used `cached_bytes` are cached."""

    def __init__(self, size: PictureSize, cached_bytes: int = FITTED_BYTES) -> None:
        self.size = size
        self._cache: ByteCache[tuple[int, int], str] = ByteCache(cached_bytes)

    def data_url(self, encoded: bytes) -> str:
        """
        Raises:
            PIL.UnidentifiedImageError: the bytes are not a picture.
        """
        # Python caches the hash of bytes: those of a cached picture are read only once.
        content = len(encoded), hash(encoded)
        url = self._cache.get(content)
        if url is None:
            url = "data:image/png;base64," + b64encode(fit_picture(encoded, self.size)).decode()
            self._cache.add(content, url)
        return url
