"""Read several sorted lists of ids in parallel."""

from collections.abc import Iterable

from service.metrics import Metrics
from service.recommend.optional import optional
from service.state.items import Items
from service.state.reads import Answer, Wave

IDS_AT_ONCE = 512
"""About how many ids one read lists."""


class Lists:
    """The ids of several lists of the catalogue. Each read returns one page of every list.

    Args:
        keys: the lists, see `Items.listing`.
        dependency: the label that failures are counted with. A list that can't be read is treated as exhausted.
    """

    def __init__(self, items: Items, keys: Iterable[str], dependency: str, metrics: Metrics) -> None:
        self._items = items
        self._after = dict.fromkeys(keys, "")
        self._each = -(-IDS_AT_ONCE // max(1, len(self._after)))
        self._dependency = dependency
        self._metrics = metrics
        self._pages: dict[str, Answer[list[str]]] = {}

    @property
    def done(self) -> bool:
        return not self._after

    def ask(self, wave: Wave) -> None:
        self._pages = {key: wave.add(self._items.listing(key, after, self._each)) for key, after in self._after.items()}

    def take(self) -> list[str]:
        """The ids that the last read returned."""
        found: list[str] = []
        for key, page in self._pages.items():
            ids: list[str] = []
            with optional(self._dependency, self._metrics):
                ids = page.value()
            found += ids
            if len(ids) < self._each:
                del self._after[key]
            else:
                self._after[key] = ids[-1]
        self._pages = {}
        return found
