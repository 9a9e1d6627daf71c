"""A dataset's items as training needs them: views without picture bytes, pixels in one array."""

import io
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from model_store.data.dataset import Dataset, DatasetItem
from model_store.msr.scratch.encoding import Encoder
from model_store.msr.scratch.packing import Segment
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
        pixels: pictures as the model sees them, of shape (pictures, height, width, 3).
        picture: per item its row in `pixels`, or -1.
    """

    def __init__(self, dataset: Dataset, size: PictureSize) -> None:
        items = list(dataset.items.values())
        self.ids = [item.item_id for item in items]
        self.number = {item_id: number for number, item_id in enumerate(self.ids)}
        self.captions = [_caption(item) for item in items]
        self.views = [_view(item, caption) for item, caption in zip(items, self.captions, strict=True)]
        self.pixels, self.picture = _pixels(items, size)


class Candidates:
    """Encodes items as candidates, each form of each item once."""

    def __init__(self, catalogue: Catalogue, encoder: Encoder) -> None:
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


def _pixels(items: Sequence[DatasetItem], size: PictureSize) -> tuple[npt.NDArray[np.uint8], list[int]]:
    pictures: list[npt.NDArray[np.uint8]] = []
    rows = []
    for item in items:
        rows.append(-1 if item.image is None else len(pictures))
        if item.image is not None:
            fitted = Image.open(io.BytesIO(fit_picture(item.image.read_bytes(), size)))
            pictures.append(np.asarray(fitted, dtype=np.uint8))
    shape = (0, size.height, size.width, 3)
    return np.stack(pictures) if pictures else np.zeros(shape, dtype=np.uint8), rows
