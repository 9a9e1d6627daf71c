"""The items of a data set as an embedder reads them."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal

import torch

from model_store.msr.scratch.catalogue import Catalogue
from model_store.notellm2.model import ItemBatch, Vectors
from model_store.notellm2.tokens import EncodedItem, ItemTokens
from model_store.notellm2.vision import Seen

Inputs = Literal["both", "words", "picture"]
_EMBEDDED_AT_ONCE = 64
_KEPT = 2**16
"""Tokenized items: some 5 KB each."""


class Items:
    """The catalogue of a training: each item's tokens with and without its picture, and what its picture shows."""

    def __init__(self, catalogue: Catalogue, tokens: ItemTokens, seen: Seen | None, inputs: Inputs = "both") -> None:
        self.catalogue, self.seen, self._tokens, self._inputs = catalogue, seen, tokens, inputs
        self._encode = lru_cache(_KEPT)(self._encoded)

    def __len__(self) -> int:
        return len(self.catalogue.ids)

    def pictured(self, number: int) -> bool:
        """Whether the model may see a picture of the item."""
        return self.seen is not None and self._inputs != "words" and self.catalogue.picture[number] >= 0

    def batch(
        self, numbers: Sequence[int], picture: Sequence[bool], *, words: bool = True
    ) -> tuple[ItemBatch, Seen | None]:
        """Items with or without their pictures and words, and what their pictures show."""
        shown = [with_picture and self.pictured(number) for number, with_picture in zip(numbers, picture, strict=True)]
        batch = ItemBatch.pad([self._item(number, one, words) for number, one in zip(numbers, shown, strict=True)])
        rows = [self.catalogue.picture[number] for number, one in zip(numbers, shown, strict=True) if one]
        if not rows or self.seen is None:
            return batch, None
        return batch, Seen(self.seen.cells[rows].float(), self.seen.feature[rows].float())

    def _item(self, number: int, picture: bool, words: bool) -> EncodedItem:
        words = words and (self._inputs != "picture" or not picture)
        return self._encode(number, picture, words)

    def _encoded(self, number: int, picture: bool, words: bool) -> EncodedItem:
        view = self.catalogue.views[number]
        return self._tokens(view if words else view.without_words(), picture=picture)


def embed_all(
    embed: Callable[..., Vectors],
    items: Items,
    numbers: Sequence[int],
    *,
    words: bool = True,
    picture: bool = True,
    progress: Callable[[float], None] = lambda _: None,
) -> torch.Tensor:
    """Vectors of items, (n, dimensions): with their pictures and words, with their words, or with their pictures only.

    Of a model that reads a position that has seen only the picture, that one is the vector of a picture.
    """
    found = []
    for start in range(0, len(numbers), _EMBEDDED_AT_ONCE):
        some = numbers[start : start + _EMBEDDED_AT_ONCE]
        vectors = embed(some, [picture] * len(some), words=words)
        rows = vectors.whole
        if not words and len(vectors.pictured):
            rows = rows.index_copy(0, vectors.pictured, vectors.picture)
        found.append(rows.float())
        progress(min(1.0, (start + len(some)) / len(numbers)))
    return torch.cat(found)
