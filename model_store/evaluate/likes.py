"""Which users liked which items, as a sparse matrix."""

from collections.abc import Iterable
from itertools import chain

import numpy as np
from scipy.sparse import csr_array

from model_store.cooccurrence import NEIGHBOURS, Cooccurrence
from model_store.evaluate.metrics import Counts

TIE = 1e-9
"""Weight of the number of likes among candidates with the same score."""


class Likes:
    """A matrix of users by items with 1 where the user liked the item; its last, empty column is for unknown items.

    Args:
        liked: per user the items that the user liked; a repeated one counts once.
    """

    def __init__(self, liked: Iterable[Iterable[str]]) -> None:
        users = [dict.fromkeys(items) for items in liked]
        self.items = list(dict.fromkeys(chain.from_iterable(users)))
        self._columns = {item: column for column, item in enumerate(self.items)}
        rows = np.repeat(np.arange(len(users)), [len(user) for user in users])
        columns = self.columns(chain.from_iterable(users))
        shape = (len(users), len(self.items) + 1)
        self.matrix = csr_array((np.ones(len(columns), dtype=np.int64), (rows, columns)), shape=shape)
        self.counts: Counts = self.matrix.sum(axis=0)

    def columns(self, items: Iterable[str]) -> Counts:
        """The column of each item."""
        return np.array([self._columns.get(item, len(self.items)) for item in items], dtype=np.int64)

    def cooccurrence(self, neighbours: int = NEIGHBOURS) -> Cooccurrence:
        """The counts, and per item the neighbours with the highest count / n^(1/4).

        By count alone the lists fill with items that everyone likes, by cosine (n^(1/2)) with items that
        one user liked; the five-fold AUC of movielens-posters is 76.1 between the two, against 75.2 and 74.0.
        """
        together: dict[str, dict[str, int]] = {}
        by_item = self.matrix.T.tocsr()
        # One row of the item-by-item matrix at a time: all of it may not fit into memory.
        for column, item in enumerate(self.items):
            row = by_item[[column]] @ self.matrix
            others, users = row.indices[row.indices != column], row.data[row.indices != column]
            best = np.lexsort((others, -users / self.counts[others] ** 0.25))[:neighbours]
            together[item] = {self.items[others[n]]: int(users[n]) for n in best}
        return Cooccurrence(dict(zip(self.items, self.counts.tolist(), strict=False)), together)
