"""Items liked by users who also liked the user's recent items."""

from collections.abc import Collection, Sequence
from typing import ClassVar

from service.metrics import Metrics
from service.recommend.optional import optional
from service.recommend.retrieval.stage import Stage
from service.recommend.schemas import SourceName
from service.state.cooccurrence import CooccurrenceCounts, Counts, Together, named, nearest
from service.state.reads import Answer, Wave


class Cooccurrence(Stage):
    """Neighbours of recently liked items by summed cosine. Reads their co-occurrence lists, then the like counts."""

    name: ClassVar[SourceName] = "cooccurrence"

    def __init__(self, cooccurrence: CooccurrenceCounts, metrics: Metrics) -> None:
        super().__init__()
        self._cooccurrence = cooccurrence
        self._metrics = metrics
        self._near: Sequence[str] = ()
        self._exclude: Collection[str] = ()
        self._lists: Answer[Together] | None = None
        self._counts: Answer[Counts] | None = None
        self._together: Together = {}

    def begin(self, near: Sequence[str], seen: Collection[str]) -> None:
        self._near = near
        self._exclude = {*near, *seen}
        self.done = not near

    def ask(self, wave: Wave) -> None:
        if self._lists is None:
            self._lists = wave.add(self._cooccurrence.lists(self._near))
        else:
            self._counts = wave.add(self._cooccurrence.counts(named(self._together)))

    def take(self) -> None:
        with optional("neighbours", self._metrics):
            if self._counts is not None:
                self.ids.extend(nearest(self._together, self._counts.value(), self._exclude))
            elif self._lists is not None:
                self._together = self._lists.value()
                self.done = not any(self._together.values())
                return
        self.done = True
