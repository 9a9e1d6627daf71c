"""A dataset's items as training needs them: views without picture bytes, pixels in one array."""

import io
from dataclasses import replace
from functools import cache, cached_property
from itertools import count
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from model_store.data.dataset import Dataset, DatasetItem
from model_store.msr.scratch.packing import Segment
from model_store.msr.scratch.prompt_encoder import PromptEncoder
from model_store.pictures import PictureSize, fit_picture
from model_store.views import ItemView

HAS_PICTURE = b"picture"
"""Replaces the bytes in the views of training: the encoder only checks whether an item has a picture."""


class Catalogue:
    """The items of a dataset by number.

    Attributes:
        ids: item ids, in the file's order; `number` is their inverse.
        captions: the expected answer of `describe` for each item, or "".
        views: the items as prompts see them; those with a picture have `HAS_PICTURE` and a
            summary: the dataset's, or else the caption.
        images: the files of the pictures.
        pixels: pictures as the model sees them, of shape (pictures, height, width, 3).
        picture: per item its row in `images` and `pixels`, or -1.
    """

    def __init__(self, dataset: Dataset, size: PictureSize) -> None:
        items = list(dataset.items.values())
        self.ids = [item.item_id for item in items]
        self.number = {item_id: number for number, item_id in enumerate(self.ids)}
        self.captions = [_caption(item) for item in items]
        self.views = [_view(item, caption) for item, caption in zip(items, self.captions, strict=True)]
        self.images = [item.image for item in items if item.image is not None]
        rows = count()
        self.picture = [-1 if item.image is None else next(rows) for item in items]
        self._size = size

    @cached_property
    def pixels(self) -> npt.NDArray[np.uint8]:
        """Decoded at the first use, which takes time and memory."""
        shape = (0, self._size.height, self._size.width, 3)
        pictures = [_pixels(image, self._size) for image in self.images]
        return np.stack(pictures) if pictures else np.zeros(shape, dtype=np.uint8)


class Candidates:
    """Encodes items as candidates, each form of each item once."""

    def __init__(self, catalogue: Catalogue, encoder: PromptEncoder) -> None:
        self._catalogue, self._encoder = catalogue, encoder
        self.segment = cache(self._segment)

    def _segment(self, number: int, picture: bool, words: bool) -> Segment:
        """Item `number`, with or without its picture and its words."""
        view = self._catalogue.views[number]
        view = view if picture else view.without_picture()
        view = view if words else view.without_words()
        shown = () if view.image is None else (self._catalogue.picture[number],)
        return Segment(self._encoder.rank_item(view), shown)


def _caption(item: DatasetItem) -> str:
    """The caption, or else the first genres or tags."""
    return item.caption or ", ".join(item.genres[:2] or item.tags[:2])


def _view(item: DatasetItem, caption: str) -> ItemView:
    words = ItemView(item.title, item.genres, item.tags, item.description)
    return words if item.image is None else replace(words, summary=item.summary or caption, image=HAS_PICTURE)


def _pixels(image: Path, size: PictureSize) -> npt.NDArray[np.uint8]:
    fitted = Image.open(io.BytesIO(fit_picture(image.read_bytes(), size)))
    return np.asarray(fitted, dtype=np.uint8)
