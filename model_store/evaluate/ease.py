"""EASE, an item-item model in closed form (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.linalg import lapack

from model_store.errors import UserError
from model_store.evaluate.likes import TIE, Likes
from model_store.evaluate.metrics import Counts, Floats

RIDGE = 500.0
"""The penalty of squared weights (λ of section 3).

The best of 100, 250, 500 and 1,000 for validation users of movielens-posters by the sum over popularity-drawn and
uniform negatives (AUC 81.9 and 90.9); sparse microlens-50k wants more rather than less.
"""
MAX_ITEMS = 25_000
"""The most liked items, to which the model is limited: memory grows with the square, to 2.5 GB, time with the cube."""
_ROWS_AT_ONCE = 512
_NONE = np.int64(-1)


class EaseMemoryError(UserError):
    """The matrix of the items doesn't fit into memory."""


class Ease:
    """Summed weight of the candidate given the distinct recents, ties broken by popularity.

    With the Gram matrix G of the users' likes and P = (G + ridge * I)^-1, the weight of recent i for candidate j is
    -P[i, j] / P[j, j] (equation 8). Computed in float32 and in place: `max_items`² * 4 bytes. Items beyond the
    `max_items` most liked score 0.

    Raises:
        EaseMemoryError: not enough memory.
    """

    def __init__(self, likes: Likes, *, ridge: float = RIDGE, max_items: int = MAX_ITEMS) -> None:
        self._likes = likes
        self.kept: Counts = np.sort(np.argsort(-likes.counts[: len(likes.items)], kind="stable")[:max_items])
        """The columns of `likes` that the model has, ascending. Shape (items,)."""
        self._places = np.full(len(likes.counts), _NONE)
        self._places[self.kept] = np.arange(len(self.kept))
        self._inverse = _inverse(_gram(likes, self.kept, ridge))

    def weights(self, recents: Counts, candidates: Counts) -> npt.NDArray[np.float32]:
        """The weight of each recent for each candidate, both as places in `kept`; an item has weight 0 for itself.

        Shape (recents, candidates).
        """
        one, other = recents[:, None], candidates[None, :]
        shared = self._inverse[np.maximum(one, other), np.minimum(one, other)]
        return np.where(one == other, np.float32(0), -shared / self._inverse[candidates, candidates])

    def score(self, recents: Sequence[str], candidates: Sequence[str]) -> list[float]:
        """One score per candidate, higher is better. `recents`: item ids, oldest first."""
        columns = self._likes.columns(candidates)
        near, places = self._places[self._likes.columns(dict.fromkeys(recents))], self._places[columns]
        scores: Floats = TIE * self._likes.counts[columns].astype(np.float64)
        known = places != _NONE
        scores[known] += self.weights(near[near != _NONE], places[known]).sum(axis=0)
        return [float(score) for score in scores]


def _gram(likes: Likes, kept: Counts, ridge: float) -> npt.NDArray[np.float32]:
    """The Gram matrix of the kept items plus the ridge, in the column order that LAPACK works on in place."""
    try:
        gram = np.zeros((len(kept), len(kept)), dtype=np.float32, order="F")
    except MemoryError:
        raise EaseMemoryError(
            f"EASE of {len(kept):,} items needs {4 * len(kept) ** 2 / 1e9:.1f} GB of memory: "
            "evaluate on a machine with more, or on a smaller catalogue"
        ) from None
    matrix = likes.matrix[:, kept]
    by_item = matrix.T.tocsr()
    # A block of items at a time: a sparse product of all may need more memory than the result.
    for start in range(0, len(kept), _ROWS_AT_ONCE):
        block = slice(start, start + _ROWS_AT_ONCE)
        gram[:, block] = (by_item[block] @ matrix).T.toarray()
    gram[np.diag_indices_from(gram)] += np.float32(ridge)
    return gram


def _inverse(gram: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The lower triangle of the inverse of a positive definite matrix, which is overwritten."""
    if not gram.size:
        return gram
    factor, failed = lapack.spotrf(gram, lower=1, clean=0, overwrite_a=1)
    inverse, singular = lapack.spotri(factor, lower=1, overwrite_c=1)
    if failed or singular:
        raise ValueError("the Gram matrix is not positive definite: the ridge must be greater than 0")
    found: npt.NDArray[np.float32] = inverse
    return found
