"""All retrieval stages of the service together, merged by quota."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain, zip_longest

import numpy as np

from model_store.cooccurrence import Cooccurrence, nearest
from model_store.data.dataset import Dataset
from model_store.evaluate.metrics import Floats
from model_store.evaluate.retrieval.cases import RetrievalCase
from model_store.evaluate.retrieval.methods import Method, best, in_order, places_of
from model_store.evaluate.served import near
from model_store.item_models.item_weights import ItemWeights
from model_store.retrieval.merge import merge_stages

QUOTAS = {"item_weights": 0.3, "cooccurrence": 0.25, "embedding": 0.3, "popular_genre": 0.05, "new": 0.1}
"""As the service has them by default."""
_GENRES = 3


class Staged:
    """Item weights, co-occurrence, an embedding, popular items of the user's genres and new items, then popular ones.

    Args:
        weights: those of the ranker's version.
        embedding: None leaves that stage out.
        size: how many items are retrieved.
    """

    def __init__(
        self,
        dataset: Dataset,
        counts: Cooccurrence,
        weights: ItemWeights,
        embedding: Method | None,
        *,
        size: int,
        seed: int,
        quotas: Mapping[str, float] = QUOTAS,
    ) -> None:
        self._dataset, self._counts, self._weights, self._embedding = dataset, counts, weights, embedding
        self._size, self._quotas, self._rng = size, quotas, np.random.default_rng(seed)
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
        stages = {name: [item for item in ids if item not in case.seen] for name, ids in self._stages(case).items()}
        return in_order([item for item, _ in merge_stages(stages, self._quotas, self._size)], self._places)

    def _stages(self, case: RetrievalCase) -> dict[str, Sequence[str]]:
        recents = near(case.history)
        lists = {item: self._counts.together.get(item, {}) for item in recents}
        found: dict[str, Sequence[str]] = {
            "item_weights": self._weights.nearest(recents, self._size, case.seen),
            "cooccurrence": nearest(lists, lambda item: self._counts.counts.get(item, 0), case.seen),
            "popular_genre": self._in_genres(recents),
            "new": self._rng.permutation(self._new)[: self._size].tolist(),
            "popular": self._popular[: self._size + len(case.seen)],
        }
        if self._embedding is not None:
            found["embedding"] = best(self._embedding(case), self._items, case, self._size)
        return found

    def _in_genres(self, recents: Sequence[str]) -> list[str]:
        """The popular items of the user's most frequent genres, in turn."""
        known = (self._dataset.items[item].genres for item in recents if item in self._dataset.items)
        genres = [genre for genre, _ in Counter(chain.from_iterable(known)).most_common(_GENRES)]
        turns = zip_longest(*(self._by_genre.get(genre, []) for genre in genres))
        return list(dict.fromkeys(item for turn in turns for item in turn if item is not None))
