"""Pairs of items from behaviour, which an embedder learns from (NoteLLM-2, 3.4).

    s(A -> B) = sum over the users who liked A, and later B, of 1 / N_u

N_u is the number of items that the user liked, so that a user who likes everything says little.

The strongest partners of almost every item are the same popular ones, which says little of it. So partners are chosen
by s(A -> B) / m(B)^discount, where m(B) sums the strength of all pairs of B.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array, csr_array

Places = npt.NDArray[np.int64]
_USERS_AT_ONCE = 2048


@dataclass(frozen=True)
class ItemPairs:
    """
    Args:
        items: item ids.
        first, second: the places in `items` of A and B, of shape (pairs,).
        strength: s(A -> B) / m(B)^discount, of shape (pairs,).
    """

    items: Sequence[str]
    first: Places
    second: Places
    strength: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.first)

    def named(self) -> Iterator[tuple[str, str]]:
        """The ids of each pair."""
        return ((self.items[a], self.items[b]) for a, b in zip(self.first.tolist(), self.second.tolist(), strict=True))

    def numbered(self, number: Mapping[str, int]) -> tuple[Places, Places]:
        """The numbers of A and of B of each pair, of shape (pairs,); `number` has that of each item."""
        numbers = np.array([number[item] for item in self.items], dtype=np.int64)
        return numbers[self.first], numbers[self.second]

    def without(self, others: "ItemPairs") -> "ItemPairs":
        """The pairs that are not among `others`, in either direction."""
        known = set(others.named())
        kept = np.array([(a, b) not in known and (b, a) not in known for a, b in self.named()], dtype=bool)
        return ItemPairs(self.items, self.first[kept], self.second[kept], self.strength[kept])


def pairs(likes: Iterable[Sequence[str]], *, top: int, window: int, discount: float = 0.0) -> ItemPairs:
    """The `top` strongest partners of each item.

    Args:
        likes: for each user the items that the user liked, oldest first; of a repeated one, the first counts.
        window: B must be one of so many likes that follow A.
        discount: of popular partners, 0..1.
    """
    users = [list(dict.fromkeys(user)) for user in likes]
    items = sorted(set(chain.from_iterable(users)))
    place = {item: number for number, item in enumerate(items)}
    size = len(items)
    total = coo_array((size, size), dtype=np.float64).tocsr()
    for start in range(0, len(users), _USERS_AT_ONCE):
        rows, columns, values = [], [], []
        for user in users[start : start + _USERS_AT_ONCE]:
            numbers = np.array([place[item] for item in user], dtype=np.int64)
            for step in range(1, min(window, len(numbers) - 1) + 1):
                rows.append(numbers[:-step])
                columns.append(numbers[step:])
                values.append(np.full(len(numbers) - step, 1.0 / len(numbers)))
        if rows:
            some = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
            total = total + coo_array(some, shape=(size, size)).tocsr()
    return ItemPairs(items, *_strongest(_discounted(total, discount), top))


def _discounted(matrix: csr_array, discount: float) -> csr_array:
    met = np.asarray(matrix.sum(0)).ravel() + np.asarray(matrix.sum(1)).ravel()
    matrix.data /= met[matrix.indices] ** discount
    return matrix


def _strongest(matrix: csr_array, top: int) -> tuple[Places, Places, npt.NDArray[np.float64]]:
    first, second, strength = [], [], []
    for row in range(matrix.shape[0]):
        start, end = matrix.indptr[row], matrix.indptr[row + 1]
        columns, values = matrix.indices[start:end], matrix.data[start:end]
        best = np.lexsort((columns, -values))[:top]
        first.append(np.full(len(best), row, dtype=np.int64))
        second.append(columns[best].astype(np.int64))
        strength.append(values[best])
    if not first:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    return np.concatenate(first), np.concatenate(second), np.concatenate(strength)
