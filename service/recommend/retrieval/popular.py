"""The items that most users liked."""

from typing import ClassVar

from service.metrics import Metrics
from service.recommend.optional import optional
from service.recommend.retrieval.stage import Stage
from service.recommend.schemas import SourceName
from service.state.cooccurrence import CooccurrenceCounts
from service.state.reads import Answer, Wave

PAGE = 300


class Popular(Stage):
    """The first `depth` items of the popularity ranking, read page by page."""

    name: ClassVar[SourceName] = "popular"
    needs_user: ClassVar[bool] = False

    def __init__(self, ranking: CooccurrenceCounts, depth: int, metrics: Metrics) -> None:
        super().__init__()
        self._ranking = ranking
        self._depth = depth
        self._metrics = metrics
        self._start = 0
        self._page: Answer[list[str]] | None = None

    def ask(self, wave: Wave) -> None:
        self._page = wave.add(self._ranking.ranking(self._start, PAGE))

    def take(self) -> None:
        page: list[str] = []
        if self._page is not None:
            with optional("popular", self._metrics):
                page = self._page.value()
        self.ids.extend(page)
        self._start += PAGE
        self.done = len(page) < PAGE or self._start >= self._depth
