"""Pairs of items from behaviour, which an embedder learns from (NoteLLM-2, 3.4).

    s(A -> B) = sum over the users who liked A, and later B, of 1 / N_u

N_u is the number of items that the user liked, so that a user who likes everything says little.

The strongest partners of almost every item are the same popular ones, which says little of it. So partners are chosen
by s(A -> B) / m(B)^discount, where m(B) sums the strength of all pairs of B.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array, csr_array

Places = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]
_PAIRS_AT_ONCE = 2**23


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
    strength: Shares

    def __len__(self) -> int:
        return len(self.first)

    def numbered(self, number: Mapping[str, int]) -> tuple[Places, Places]:
        """The numbers of A and of B of each pair, of shape (pairs,); `number` has that of each item."""
        numbers = np.array([number[item] for item in self.items], dtype=np.int64)
        return numbers[self.first], numbers[self.second]

    def without(self, others: "ItemPairs") -> "ItemPairs":
        """The pairs that are not among `others`, in either direction."""
        number = {item: place for place, item in enumerate(dict.fromkeys(chain(self.items, others.items)))}
        known = np.isin(self._undirected(number), others._undirected(number))
        return ItemPairs(self.items, self.first[~known], self.second[~known], self.strength[~known])

    def _undirected(self, number: Mapping[str, int]) -> Places:
        """One number for each pair, the same for both directions."""
        first, second = self.numbered(number)
        one: Places = np.minimum(first, second) * len(number) + np.maximum(first, second)
        return one


def pairs(likes: Iterable[Sequence[str]], *, top: int, window: int, discount: float = 0.0) -> ItemPairs:
    """The `top` strongest partners of each item.

    All pairs would not fit into memory: only those of some items A are counted at a time.

    Args:
        likes: for each user the items that the user liked, oldest first; of a repeated one, the first counts.
        window: B must be one of so many likes that follow A.
        discount: of popular partners, 0..1.
    """
    users = [list(dict.fromkeys(user)) for user in likes]
    items = sorted(set(chain.from_iterable(users)))
    place = {item: number for number, item in enumerate(items)}
    flat = _Likes.of(users, place)
    met = flat.met(window, len(items))
    by_item = np.argsort(flat.item, kind="stable")
    ends = np.concatenate([[0], np.cumsum(np.bincount(flat.item, minlength=len(items)))])
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for start, end in _parts(ends, max(1, _PAIRS_AT_ONCE // window)):
        first, second, share = flat.followed(by_item[ends[start] : ends[end]], window)
        matrix = coo_array((share, (first - start, second)), shape=(end - start, len(items))).tocsr()
        matrix.data /= met[matrix.indices] ** discount
        first, second, strength = _strongest(matrix, top)
        found.append((first + start, second, strength))
    return ItemPairs(items, *(np.concatenate(part) for part in zip(*found, strict=True)))


class _Likes(NamedTuple):
    """All likes, user by user, each of shape (likes,): the item, N_u, and how many likes of the user follow it."""

    item: Places
    length: Places
    later: Places

    @classmethod
    def of(cls, users: Sequence[Sequence[str]], place: Mapping[str, int]) -> Self:
        item = np.fromiter((place[item] for item in chain.from_iterable(users)), dtype=np.int64)
        lengths = np.array([len(user) for user in users], dtype=np.int64)
        later = np.repeat(np.cumsum(lengths), lengths) - 1 - np.arange(len(item))
        return cls(item, np.repeat(lengths, lengths), later)

    def met(self, window: int, items: int) -> Shares:
        """The strength of all pairs of each item, as A or as B, shape (items,)."""
        earlier = self.length - 1 - self.later
        partners = np.minimum(self.later, window) + np.minimum(earlier, window)
        return np.bincount(self.item, partners / self.length, items).astype(np.float64)

    def followed(self, some: Places, window: int) -> tuple[Places, Places, Shares]:
        """A, B and 1 / N_u of each time that B followed A, with the likes `some` as A."""
        first, second, share = [], [], []
        for step in range(1, window + 1):
            some = some[self.later[some] >= step]
            first.append(self.item[some])
            second.append(self.item[some + step])
            share.append(1.0 / self.length[some])
        return np.concatenate(first), np.concatenate(second), np.concatenate(share)


def _parts(ends: Places, likes: int) -> Iterator[tuple[int, int]]:
    """Ranges of items with about so many likes in total; `ends[i]` is the number of likes of the items before i."""
    cuts = np.flatnonzero(np.diff(ends[:-1] // likes)) + 1
    return pairwise([0, *cuts.tolist(), len(ends) - 1])


def _strongest(matrix: csr_array, top: int) -> tuple[Places, Places, Shares]:
    first, second, strength = [], [], []
    for row in range(matrix.shape[0]):
        start, end = matrix.indptr[row], matrix.indptr[row + 1]
        columns, values = matrix.indices[start:end], matrix.data[start:end]
        # Sums of the same shares differ in their last digits, by their order.
        best = np.lexsort((columns, -values.astype(np.float32)))[:top]
        first.append(np.full(len(best), row, dtype=np.int64))
        second.append(columns[best].astype(np.int64))
        strength.append(values[best])
    if not first:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    return np.concatenate(first), np.concatenate(second), np.concatenate(strength)
