"""Retrieval stages that read the catalogue's sorted lists of ids."""

from collections.abc import Iterable, Sequence

from service.metrics import Metrics
from service.recommend.filters import ItemFilter
from service.recommend.optional import value_or
from service.recommend.retrieval.stages import Stage
from service.state.cooccurrence import CooccurrenceCounts, Counts
from service.state.items import Items
from service.state.keys import Field
from service.state.reads import Answer, Wave

IDS_AT_ONCE = 512
"""About how many ids one read lists."""
MOST_TERMS = 8
"""A field filtered by more terms than this is not looked up, because each term costs one read per bucket."""


class Lists:
    """The ids of several lists of the catalogue, read in parallel: each read returns one page of every list.

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

    @property
    def done(self) -> bool:
        return not self._after

    def ask(self, wave: Wave) -> None:
        self._pages = {key: wave.add(self._items.listing(key, after, self._each)) for key, after in self._after.items()}

    def take(self) -> list[str]:
        """The ids that the last read returned."""
        found: list[str] = []
        for key, page in self._pages.items():
            ids = value_or([], page, self._dependency, self._metrics)
            found += ids
            if len(ids) < self._each:
                del self._after[key]
            else:
                self._after[key] = ids[-1]
        return found


class Catalogue(Stage):
    """The whole catalogue, in no meaningful order, when no better source is left."""

    name = "catalogue"
    last_resort = True

    def __init__(self, items: Items, metrics: Metrics) -> None:
        super().__init__()
        self._lists = Lists(items, items.indexes(), self.name, metrics)

    def ask(self, wave: Wave) -> None:
        self._lists.ask(wave)

    def take(self) -> None:
        self.ids.extend(self._lists.take())
        self.done = self._lists.done


class ByTerm(Stage):
    """The items with the genres or tags that a filter requires, including items that few users liked.

    Each list of a term is read in pages, and each page sorted by popularity. If the filter requires both a genre and a
    tag, an item that passes is listed under one of each. So when the lists of one field have been read completely,
    those of the other field add nothing.
    """

    name = "by_term"
    asked_first = True

    def __init__(
        self, items: Items, popularity: CooccurrenceCounts, wanted: ItemFilter | None, metrics: Metrics
    ) -> None:
        super().__init__()
        self._popularity = popularity
        self._metrics = metrics
        self._fields = [
            Lists(items, keys, self.name, metrics) for keys in (_keys(items, wanted) if wanted else ()) if keys
        ]
        self._listed: list[str] = []
        self._counts: Answer[Counts] | None = None
        self.done = not self._fields

    def ask(self, wave: Wave) -> None:
        if self._listed:
            self._counts = wave.add(self._popularity.counts(self._listed))
        else:
            for lists in self._fields:
                lists.ask(wave)

    def take(self) -> None:
        if self._counts is None:
            self._list()
        else:
            # If the counts can't be read, the ids stay in their order.
            counts = value_or(Counts({}, frozenset()), self._counts, "popular", self._metrics)
            self.ids.extend(sorted(self._listed, key=lambda item_id: -counts.of(item_id)))
            self._listed, self._counts = [], None
        self.done = not self._listed and any(lists.done for lists in self._fields)

    def _list(self) -> None:
        listed = [lists.take() for lists in self._fields]
        ended = [ids for ids, lists in zip(listed, self._fields, strict=True) if lists.done]
        chosen = [min(ended, key=len)] if ended else listed
        self._listed = list(dict.fromkeys(item_id for ids in chosen for item_id in ids))


def _keys(items: Items, wanted: ItemFilter) -> Sequence[Sequence[str]]:
    """For each field that is looked up, the keys of the lists of its wanted terms."""
    fields: tuple[Field, ...] = ("genres", "tags")
    return [
        [key for term in terms for key in items.term_indexes(field, term)]
        for field in fields
        if len(terms := wanted.terms(field)) <= MOST_TERMS
    ]
