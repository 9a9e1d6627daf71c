"""The whole catalogue, for when nothing better is left to name."""

from typing import ClassVar

from service.metrics import Metrics
from service.recommend.optional import optional
from service.recommend.retrieval.stage import Stage
from service.recommend.schemas import SourceName
from service.state.items import Items
from service.state.reads import Answer, Wave

LISTED = 512
"""About how many ids one read lists."""


class Catalogue(Stage):
    """The ids of the catalogue in no meaningful order, from all its index keys at once."""

    name: ClassVar[SourceName] = "catalogue"
    last_resort: ClassVar[bool] = True

    def __init__(self, items: Items, metrics: Metrics) -> None:
        super().__init__()
        self._items = items
        self._metrics = metrics
        self._after = dict.fromkeys(items.indexes(), "")
        self._each = -(-LISTED // max(1, len(self._after)))
        self._pages: dict[str, Answer[list[str]]] = {}

    def ask(self, wave: Wave) -> None:
        self._pages = {key: wave.add(self._items.listing(key, after, self._each)) for key, after in self._after.items()}

    def take(self) -> None:
        for key, page in self._pages.items():
            ids: list[str] = []
            with optional("catalogue", self._metrics):
                ids = page.value()
            self.ids.extend(ids)
            if len(ids) < self._each:
                del self._after[key]
            else:
                self._after[key] = ids[-1]
        self._pages = {}
        self.done = not self._after
