"""Counts who liked what together, without ever holding the whole item-by-item matrix."""

from collections.abc import Iterable

import numpy as np

from model_store.evaluate.evidence import NEIGHBOURS, Evidence
from model_store.evaluate.metrics import Counts


class Cooccurrence:
    """Users' liked items, by user and by item; a row of the matrix is counted when it is asked for.

    Args:
        liked: per user the items that the user liked; a repeated one counts once.
    """

    def __init__(self, liked: Iterable[Iterable[str]]) -> None:
        self.places: dict[str, int] = {}
        users = [[self.places.setdefault(item, len(self.places)) for item in dict.fromkeys(items)] for items in liked]
        self.items: list[str] = list(self.places)
        self._likes = [np.array(user, dtype=np.int64) for user in users]
        lengths = [len(user) for user in self._likes]
        flat = np.concatenate([np.empty(0, dtype=np.int64), *self._likes])
        self.counts: Counts = np.bincount(flat, minlength=len(self.items)).astype(np.int64)
        order = np.argsort(flat, kind="stable")
        who = np.repeat(np.arange(len(self._likes)), lengths)[order]
        self._likers = np.split(who, np.cumsum(self.counts)[:-1])

    def row(self, place: int) -> tuple[Counts, Counts]:
        """The places of the items liked together with this one, ascending, and by how many users."""
        together = np.bincount(np.concatenate([self._likes[user] for user in self._likers[place]]))
        together[place] = 0
        neighbours = np.flatnonzero(together)
        return neighbours, together[neighbours]

    def evidence(self, neighbours: int = NEIGHBOURS) -> Evidence:
        """The counts, and per item the neighbours with the most count / n^(1/4).

        By count alone the lists fill with what everyone likes, by cosine (n^(1/2)) with what one
        user liked; between the two, the five-fold AUC of movielens-posters is 76.1 against 75.2 and 74.0.
        """
        together: dict[str, dict[str, int]] = {}
        for place, item in enumerate(self.items):
            others, users = self.row(place)
            best = np.lexsort((others, -users / self.counts[others] ** 0.25))[:neighbours]
            together[item] = {self.items[others[n]]: int(users[n]) for n in best}
        return Evidence(dict(zip(self.items, self.counts.tolist(), strict=True)), together)
