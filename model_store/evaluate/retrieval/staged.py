"""All retrieval stages of the service together, merged as the service does it."""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np

from model_store.cooccurrence import Cooccurrence, nearest
from model_store.data.dataset import Dataset
from model_store.evaluate.metrics import Floats
from model_store.evaluate.retrieval.cases import RetrievalCase
from model_store.evaluate.retrieval.methods import Method, best, in_order, places_of
from model_store.evaluate.served import near
from model_store.item_models.item_models import ItemModels
from model_store.retrieval.merge import Listed, alternating, merged
from model_store.retrieval.shares import FITTING_AMONG, GENRES, SHARES, UNKNOWN_AMONG, Share, Shares, places


class Staged:
    """Item models, co-occurrence, an embedding, new items and popular items of the user's genres, then popular ones.

    Args:
        models: those of the ranker's version.
        embedding: None leaves that stage out.
        size: how many items are retrieved.
    """

    def __init__(
        self,
        dataset: Dataset,
        counts: Cooccurrence,
        models: ItemModels,
        embedding: Method | None,
        *,
        size: int,
        seed: int,
        shares: Shares = SHARES,
    ) -> None:
        self._dataset, self._counts, self._models, self._embedding = dataset, counts, models, embedding
        self._size, self._shares, self._rng = size, shares, np.random.default_rng(seed)
        self._items = list(dataset.items)
        self._places = places_of(self._items)
        self._new = [item for item in self._items if item not in counts.counts]
        liked = (item for item in self._items if item in counts.counts)
        self._popular = sorted(liked, key=lambda item: -counts.counts[item])
        self._by_genre: dict[str, list[str]] = {}
        for item in self._popular:
            for genre in dataset.items[item].genres:
                self._by_genre.setdefault(genre, []).append(item)

    def __call__(self, case: RetrievalCase) -> Floats:
        stages = self._stages(case)
        known, embedded = bool(stages["item_models"]), bool(stages["embedding"])
        share = self._shares.of(self._size, known=known, embedded=embedded)
        sources = [
            Listed(name, deque(item for item in ids if item not in case.seen), *share.get(name, Share(0.0)))
            for name, ids in stages.items()
        ]
        return in_order([item for item, _ in merged(sources, self._size)], self._places)

    def _stages(self, case: RetrievalCase) -> Mapping[str, Sequence[str]]:
        """The items of each stage, in the order of the service."""
        recents = near(case.history)
        lists = {item: self._counts.together.get(item, {}) for item in recents}
        scores = self._embedding(case) if self._embedding is not None else None
        known = self._models.nearest(recents, self._size, case.seen)
        return {
            "new": self._drawn(scores),
            "item_models": known,
            "cooccurrence": nearest(lists, lambda item: self._counts.counts.get(item, 0), case.seen),
            "embedding": [] if scores is None else self._embedded(scores, case, among_unknown=bool(known)),
            "popular_genre": self._in_genres(recents),
            "popular": self._popular[: self._size + len(case.seen)],
        }

    def _drawn(self, scores: Floats | None) -> Sequence[str]:
        """New items at random, those that fit best in turn with the others."""
        among = FITTING_AMONG * places(self._shares.new, self._size)
        drawn: list[str] = self._rng.permutation(self._new)[:among].tolist()
        if scores is None:
            return drawn
        own = [(scores[self._places[item]], item) for item in drawn]
        fitting = sorted((pair for pair in own if pair[0] > -np.inf), key=lambda pair: -pair[0])
        return alternating([item for _, item in fitting], drawn)

    def _embedded(self, scores: Floats, case: RetrievalCase, *, among_unknown: bool) -> Sequence[str]:
        if not among_unknown:
            return best(scores, self._items, case, self._size)
        found = best(scores, self._items, case, UNKNOWN_AMONG * self._size)
        return [item for item in found if item not in self._models.known]

    def _in_genres(self, recents: Sequence[str]) -> Sequence[str]:
        """The popular items of the user's most frequent genres, in turn."""
        known = (self._dataset.items[item].genres for item in recents if item in self._dataset.items)
        genres = [genre for genre, _ in Counter(chain.from_iterable(known)).most_common(GENRES)]
        return alternating(*(self._by_genre.get(genre, []) for genre in genres))
