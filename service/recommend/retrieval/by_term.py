"""Items with the genres or tags that a request filters by, including items that few users liked."""

from collections.abc import Sequence
from typing import ClassVar

from service.metrics import Metrics
from service.recommend.optional import optional
from service.recommend.retrieval.lists import Lists
from service.recommend.retrieval.stage import Stage
from service.recommend.schemas import Filters, SourceName
from service.state.cooccurrence import CooccurrenceCounts, Counts
from service.state.items import Items
from service.state.keys import Field
from service.state.reads import Answer, Wave

MOST_TERMS = 8
"""A field filtered by more terms than this is not looked up, because each term costs one read per bucket."""


class ByTerm(Stage):
    """The items listed under the wanted terms, each read in order of popularity.

    If the filters name both genres and tags, an item that passes is listed under one of each. So when the lists of one
    field have been read completely, those of the other field add nothing.
    """

    name: ClassVar[SourceName] = "by_term"
    needs_user: ClassVar[bool] = False

    def __init__(self, items: Items, popularity: CooccurrenceCounts, filters: Filters | None, metrics: Metrics) -> None:
        super().__init__()
        self._popularity = popularity
        self._metrics = metrics
        self._fields = [
            Lists(items, keys, self.name, metrics) for keys in (_keys(items, filters) if filters else ()) if keys
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
        if self._counts is not None:
            self._name(self._counts)
        else:
            self._list()
        self.done = not self._listed and any(lists.done for lists in self._fields)

    def _list(self) -> None:
        listed = [lists.take() for lists in self._fields]
        ended = [ids for ids, lists in zip(listed, self._fields, strict=True) if lists.done]
        chosen = [min(ended, key=len)] if ended else listed
        self._listed = list(dict.fromkeys(item_id for ids in chosen for item_id in ids))

    def _name(self, answer: Answer[Counts]) -> None:
        """Name the listed ids by popularity, or in their order if the counts can't be read."""
        counts = Counts({}, frozenset())
        with optional("popular", self._metrics):
            counts = answer.value()
        self.ids.extend(sorted(self._listed, key=lambda item_id: -counts.of(item_id)))
        self._listed, self._counts = [], None


def _keys(items: Items, filters: Filters) -> Sequence[Sequence[str]]:
    """For each field that is looked up, the keys of the lists of its wanted terms."""
    wanted: dict[Field, list[str]] = {"genres": filters.genres, "tags": filters.tags}
    return [
        [key for term in terms for key in items.term_indexes(field, term)]
        for field, terms in wanted.items()
        if len(terms) <= MOST_TERMS
    ]
