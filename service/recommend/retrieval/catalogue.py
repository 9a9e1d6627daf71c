"""The whole catalogue, when no better source is left."""

from typing import ClassVar

from service.metrics import Metrics
from service.recommend.retrieval.lists import Lists
from service.recommend.retrieval.stage import Stage
from service.recommend.schemas import SourceName
from service.state.items import Items
from service.state.reads import Wave


class Catalogue(Stage):
    """The ids of the catalogue, in no meaningful order."""

    name: ClassVar[SourceName] = "catalogue"
    last_resort: ClassVar[bool] = True

    def __init__(self, items: Items, metrics: Metrics) -> None:
        super().__init__()
        self._lists = Lists(items, items.indexes(), self.name, metrics)

    def ask(self, wave: Wave) -> None:
        self._lists.ask(wave)

    def take(self) -> None:
        self.ids.extend(self._lists.take())
        self.done = self._lists.done
