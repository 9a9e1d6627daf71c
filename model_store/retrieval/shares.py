"""How the places of the candidates are shared out among the retrieval stages, in the service and in its evaluation.

Chosen by recall@100 of known and of new items of validation users (docs/results.md). The ranker's item models find
known items better than all else, and never a new one. So they have most of the places, and vectors are only asked for
items that they don't know. Co-occurrence finds less of both, but it counts every event after the version was made.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

COOCCURRENCE = 0.05
FITTING_AMONG = 20
"""New items that are drawn for each of their places where those that fit the user best are chosen by their vectors."""
UNKNOWN_AMONG = 10
"""How many times more items are searched by vectors where only those are wanted that the item models don't know."""
GENRES = 3
"""Genres of a user that are considered."""


class Share(NamedTuple):
    """The quota of a stage, and how many places it has at most; see `merge.Source`."""

    quota: float
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of the places, 0..1; what is left belongs to the item models.

    Attributes:
        new: items that entered the catalogue recently, at most; half of it where vectors, too, find new items.
        embedding: items near to the user's recents by their vectors.
        genre: popular items of the user's genres, at most, for users for whom the item models find nothing.
    """

    new: float = 0.1
    embedding: float = 0.1
    genre: float = 0.05

    def of(self, count: int, *, known: bool, embedded: bool) -> Mapping[str, Share]:
        """The share of each stage in `count` places, by the name of its source.

        Args:
            known: whether the item models find items for the user.
            embedded: whether vectors do.
        """
        new = self.new / 2 if embedded else self.new
        return {
            "new": Share(new, places(new, count)),
            "item_models": Share(max(0.0, 1.0 - new - self.embedding - COOCCURRENCE)),
            "cooccurrence": Share(COOCCURRENCE),
            "embedding": Share(self.embedding),
            "popular_genre": Share(0.0 if known else self.genre, places(self.genre, count)),
        }


SHARES = Shares()
"""The service's defaults."""


def places(share: float, count: int) -> int:
    """A share of `count` places, rounded up."""
    return math.ceil(share * count)
