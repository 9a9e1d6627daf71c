"""How alike candidates are: nearly equal ones are shown once, and an answer can be made diverse. No I/O."""

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from model_store.retrieval.vectors import Floats
from service.index.repeats import repeats
from service.index.rows import NO_ROWS, Rows
from service.state.records import Item


class Likeness:
    """The cosine of two items' vectors; the share of common genres (Jaccard) where one has no vector.

    Args:
        items: in the order in which their places count.
        vectors: of the items, and of those shown earlier.
    """

    def __init__(self, items: Sequence[Item], vectors: Rows = NO_ROWS) -> None:
        self._items, self._vectors = items, vectors
        self._rows, self._known = vectors.of([item.item_id for item in items])

    @cached_property
    def _genres(self) -> Floats:
        """1 for each genre of each item, of shape (items, genres)."""
        columns = {genre: n for n, genre in enumerate(dict.fromkeys(g for item in self._items for g in item.genres))}
        found = np.zeros((len(self._items), len(columns)), dtype=np.float32)
        for place, item in enumerate(self._items):
            found[place, [columns[genre] for genre in item.genres]] = 1.0
        return found

    @property
    def by_vectors(self) -> bool:
        """Whether any item has a vector."""
        return bool(self._known.any())

    def to(self, place: int) -> Floats:
        """How alike all items are to one, of shape (items,), 0..1."""
        genres, sizes = self._genres, self._genres.sum(axis=1)
        common = genres @ genres[place]
        alike = common / np.maximum(sizes + sizes[place] - common, 1.0)
        if self._known[place]:
            cosines = np.clip(self._rows @ self._rows[place], 0.0, 1.0)
            alike = np.where(self._known, cosines, alike)
        return np.asarray(alike, dtype=np.float32)

    def repeated(self, cosine: float, earlier: Sequence[str] = ()) -> list[bool]:
        """For each item, whether it is nearly the same as one before it that is not, or as one shown earlier.

        Args:
            cosine: of vectors, from which items are nearly the same. Items with one picture and one title always are.
            earlier: ids of items that were shown; they are compared by their vectors.
        """
        met: set[tuple[str | None, str]] = set()
        same = []
        for item in self._items:
            same.append(bool(item.picture) and (item.picture, item.title) in met)
            met.add((item.picture, item.title))
        if earlier:
            shown, known = self._vectors.of(earlier)
            again = np.max(self._rows @ shown[known].T, axis=1, initial=0.0) >= cosine
            same = [one or bool(other) for one, other in zip(same, again, strict=True)]
        return repeats(self._rows, self._known, cosine, same)


def diversified(
    scores: Sequence[float], likeness: Likeness, diversity: float, k: int, admit: Callable[[int], bool]
) -> list[int]:
    """At most `k` places by maximal marginal relevance (Carbonell and Goldstein, 1998).

    Each next item has the highest (1 - diversity) * score / best score - diversity * likeness to the most similar one
    before it. Ties keep the given order.

    Args:
        scores: best first, 0..1.
        diversity: 0..1.
        admit: whether the item at a place may be taken; asked once for each place, when it would be the next.
    """
    worth: npt.NDArray[np.float64] = (1.0 - diversity) * np.asarray(scores) / max(max(scores, default=0.0), 1e-9)
    nearest = np.zeros(len(scores))
    chosen: list[int] = []
    left = np.ones(len(scores), dtype=bool)
    while len(chosen) < k and left.any():
        values = np.where(left, worth - diversity * nearest, -np.inf)
        place = int(np.argmax(values))
        left[place] = False
        if admit(place):
            chosen.append(place)
            nearest = np.maximum(nearest, likeness.to(place))
    return chosen
