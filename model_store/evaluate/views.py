"""A dataset's items and histories as the service shows them to its models."""

import hashlib
from collections.abc import Iterable, Mapping

from cachetools import LRUCache

from model_store.data.dataset import Dataset, DatasetItem, Interaction
from model_store.errors import UserError
from model_store.views import InteractionView, ItemView

_PICTURE_BYTES = 256 * 2**20


class DatasetViews:
    """Views of the items of a dataset.

    Attributes:
        summaries: the item summary by item id, once the summarizer wrote it; those in the data win. Captions are never
            shown.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.summaries: Mapping[str, str] = {}
        self._items = dataset.items
        self._pictures: LRUCache[str, bytes] = LRUCache(_PICTURE_BYTES, getsizeof=len)
        self._digests: dict[str, bytes] = {}

    def item(self, item_id: str) -> ItemView:
        """The item with its picture."""
        item = self._items[item_id]
        return self._view(item, self._picture(item))

    def events(self, history: Iterable[Interaction]) -> tuple[InteractionView, ...]:
        """A history; events of items that are not in the catalogue have none. Prompts show no pictures of a history."""
        return tuple(InteractionView(event.type, self._words(event.item_id), event.value) for event in history)

    def digest(self, item_id: str) -> bytes:
        """A hash of the item's picture, empty without one."""
        if item_id not in self._digests:
            picture = self._picture(self._items[item_id])
            self._digests[item_id] = b"" if picture is None else hashlib.sha256(picture).digest()
        return self._digests[item_id]

    def _words(self, item_id: str) -> ItemView | None:
        item = self._items.get(item_id)
        return None if item is None else self._view(item)

    def _view(self, item: DatasetItem, picture: bytes | None = None) -> ItemView:
        summary = item.summary or self.summaries.get(item.item_id, "")
        return ItemView(item.title, item.genres, item.tags, item.description, summary, picture)

    def _picture(self, item: DatasetItem) -> bytes | None:
        if item.image is None:
            return None
        picture: bytes | None = self._pictures.get(item.item_id)
        if picture is None:
            try:
                picture = item.image.read_bytes()
            except OSError as error:
                raise UserError(
                    f"the picture of item {item.item_id}, {item.image}, can't be read: {error.strerror}; "
                    "restore it, or remove `image` from its line in items.jsonl"
                ) from None
            self._pictures[item.item_id] = picture
        return picture
