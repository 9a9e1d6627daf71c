"""Where candidates come from when the caller gives none: each source names ids, a wave of reads at a time."""

from collections import deque
from collections.abc import Collection, Sequence
from typing import Protocol

from service.metrics import Metrics
from service.recommend.schemas import SourceName
from service.recommend.tolerating import tolerating
from service.state.cooccurrence import Counts, Together, named, nearest
from service.state.reads import Answer, Read, Wave
from service.state.store import Store

RANKING_PAGE = 300
LISTED = 512
"""About how many ids are read at a time of the popularity ranking, and of what the catalogue lists."""


class Source(Protocol):
    """Names ids, best first. `ask` adds the next read to a wave, `take` follows when the wave was sent."""

    name: SourceName
    ids: deque[str]
    done: bool
    """Nothing more will be named."""

    def ask(self, wave: Wave) -> None: ...

    def take(self) -> None: ...


class Neighbours:
    """What was liked by the same users as the items `near`: first their lists, then how often each was liked."""

    name: SourceName = "cooccurrence"

    def __init__(self, store: Store, near: Sequence[str], exclude: Collection[str], metrics: Metrics) -> None:
        self.ids: deque[str] = deque()
        self.done = not near
        self._store = store
        self._near = near
        self._exclude = {*near, *exclude}
        self._metrics = metrics
        self._lists: Answer[Together] | None = None
        self._counts: Answer[Counts] | None = None
        self._together: Together = {}

    def ask(self, wave: Wave) -> None:
        if self._lists is None:
            self._lists = wave.add(self._store.evidence.lists(self._near))
        else:
            self._counts = wave.add(self._store.evidence.counts(named(self._together)))

    def take(self) -> None:
        with tolerating("neighbours", self._metrics):
            if self._counts is not None:
                self.ids.extend(nearest(self._together, self._counts.value(), self._exclude))
            elif self._lists is not None:
                self._together = self._lists.value()
                self.done = not any(self._together.values())
                return
        self.done = True


class Popular:
    """The popularity ranking; its first page, unless it is extended."""

    name: SourceName = "popular"

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self.ids: deque[str] = deque()
        self.done = False
        self._ended = False
        self._most = RANKING_PAGE
        self._store = store
        self._metrics = metrics
        self._start = 0
        self._page: Answer[list[str]] | None = None

    def ask(self, wave: Wave) -> None:
        self._page = wave.add(self._store.evidence.ranking(self._start, RANKING_PAGE))

    def take(self) -> None:
        if self._page is None:
            return
        names: list[str] = []
        with tolerating("popular", self._metrics):
            names = self._page.value()
        self._page = None
        self.ids.extend(names)
        self._start += RANKING_PAGE
        self._ended = len(names) < RANKING_PAGE
        self.extend_to(self._most)

    def extend_to(self, most: int) -> None:
        """Let the first `most` places be read."""
        self._most = most
        self.done = self._ended or self._start >= most


class New:
    """Some of the items that came last, read in the first wave; `keep` ends it."""

    name: SourceName = "new"

    def __init__(self, sample: Read[list[str]], metrics: Metrics) -> None:
        self.ids: deque[str] = deque()
        self.done = True
        self._sample = sample
        self._metrics = metrics
        self._page: Answer[list[str]] | None = None

    def ask(self, wave: Wave) -> None:
        self._page = wave.add(self._sample)

    def take(self) -> None:
        if self._page is not None:
            with tolerating("new", self._metrics):
                self.ids.extend(self._page.value())
            self._page = None

    def keep(self, most: int, seen: Collection[str]) -> None:
        """Name at most so many, and none that were seen."""
        self.ids = deque([item_id for item_id in self.ids if item_id not in seen][:most])


class Listed:
    """Ids as some keys list them, all keys side by side: the whole catalogue, or a part that has an index."""

    def __init__(self, name: SourceName, store: Store, keys: Sequence[str], metrics: Metrics) -> None:
        self.name: SourceName = name
        self.ids: deque[str] = deque()
        self.done = not keys
        self._store = store
        self._metrics = metrics
        self._after = dict.fromkeys(keys, "")
        self._each = -(-LISTED // max(1, len(keys)))
        self._pages: dict[str, Answer[list[str]]] = {}

    def ask(self, wave: Wave) -> None:
        self._pages = {
            key: wave.add(self._store.items.listing(key, after, self._each)) for key, after in self._after.items()
        }

    def take(self) -> None:
        for key, page in self._pages.items():
            ids: list[str] = []
            with tolerating("catalogue", self._metrics):
                ids = page.value()
            self.ids.extend(ids)
            if len(ids) < self._each:
                del self._after[key]
            else:
                self._after[key] = ids[-1]
        self._pages = {}
        self.done = not self._after
