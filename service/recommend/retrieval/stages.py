"""Retrieval stages: the interface, and the stages that read new, co-occurring and popular items."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

from service.metrics import Metrics
from service.recommend.optional import optional, value_or
from service.recommend.schemas import SourceName
from service.state.cooccurrence import CooccurrenceCounts, Counts, Together, named, nearest
from service.state.reads import Answer, Read, Wave
from service.state.records import Item

PAGE = 300
"""Items of the popularity ranking that one read lists."""


class Stage(ABC):
    """Names item ids for one request, best first: a `Source` of the merge.

    `ask` adds the next read to a wave of reads. After the wave was sent, `take` appends the ids it found to `ids`. The
    collector checks whether an id is unknown, seen or filtered out.

    Args:
        quota: its share of the places; see `Source`.
        most: how many of its ids may be looked at; None for no limit.

    Attributes:
        name: the source of its items in an explained answer.
        asked_first: whether the stage is asked in the first round trip, before the user is known.
        last_resort: whether the stage is asked only while fewer than `k` items were found.
        ids: named ids that were not collected yet.
        done: whether the stage is exhausted.
        had: how many of its ids were looked at.
    """

    name: SourceName
    asked_first: ClassVar[bool] = False
    last_resort: ClassVar[bool] = False

    def __init__(self, quota: float = 0.0, most: int | None = None) -> None:
        self.ids: deque[str] = deque()
        self.done = False
        self.quota = quota
        self.most = most
        self.had = 0

    def begin(self, near: Sequence[str], seen: Collection[str]) -> None:  # noqa: B027 - few stages need to know
        """Receive the user: `near` holds recent items, without disliked ones, `seen` those that are not recommended."""

    def know(self, items: Mapping[str, Item]) -> None:  # noqa: B027 - few stages need to know
        """Receive the items of the user's recents, which were read together with what the first stage asked for."""

    @abstractmethod
    def ask(self, wave: Wave) -> None:
        """Add the next read to `wave`. Must not be called when the stage is done."""

    @abstractmethod
    def take(self) -> None:
        """Append what the last read found. A failed read finds nothing."""


class InMemory(Stage):
    """A stage that reads nothing from the store."""

    def ask(self, wave: Wave) -> None:
        """There is nothing to read."""

    def take(self) -> None:
        """There is nothing to read."""


class Named(InMemory):
    """Items that were found before."""

    def __init__(self, name: SourceName, ids: Sequence[str], quota: float, most: int | None = None) -> None:
        super().__init__(quota, most)
        self.name = name
        self.ids.extend(ids)
        self.done = True


class Newest(Stage):
    """Items that entered the catalogue recently, so that some are tried before anyone has liked them.

    Args:
        sample: reads more ids than there are places, because some may be rejected.
    """

    name = "new"
    asked_first = True

    def __init__(self, sample: Read[list[str]], metrics: Metrics) -> None:
        super().__init__()
        self._sample = sample
        self._metrics = metrics

    def ask(self, wave: Wave) -> None:
        self._answer = wave.add(self._sample)

    def take(self) -> None:
        ids = value_or([], self._answer, "new", self._metrics)
        self.ids.extend(ids)
        self.done = True


class Cooccurrence(Stage):
    """Neighbours of the user's recent items by summed cosine. Reads their co-occurrence lists, then the like counts."""

    name = "cooccurrence"

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


class Popular(Stage):
    """The first `depth` items of the popularity ranking, read page by page."""

    name = "popular"
    asked_first = True

    def __init__(self, ranking: CooccurrenceCounts, depth: int, metrics: Metrics) -> None:
        super().__init__()
        self._ranking = ranking
        self._depth = depth
        self._metrics = metrics
        self._start = 0

    def ask(self, wave: Wave) -> None:
        self._page = wave.add(self._ranking.ranking(self._start, PAGE))

    def take(self) -> None:
        page = value_or([], self._page, "popular", self._metrics)
        self.ids.extend(page)
        self._start += PAGE
        self.done = len(page) < PAGE or self._start >= self._depth
