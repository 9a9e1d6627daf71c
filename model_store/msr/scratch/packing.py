"""Many prompts in one row, and one user prefix for many candidates.

A *tree* is a trunk (tokens every branch sees) and branches that see the trunk and themselves.
Ranking N candidates costs one prefix and N short branches instead of N whole prompts; a generating
example is a trunk alone. Trees are laid side by side in rows of one length; the attention mask
keeps them apart, and positions start anew, so that every answer is the one that the prompt would
get alone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

Ids = list[int]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of tokens. `pictures` names, in order, the pictures whose placeholder tokens it holds.

    `answer` is the number of last tokens that the model should write (loss is taken on them).
    """

    ids: Ids
    pictures: tuple[int, ...] = ()
    answer: int = 0


@dataclass(frozen=True, slots=True)
class Tree:
    """A trunk and its branches; `labels` has one entry (1 for yes, 0 for no) per branch."""

    trunk: Segment
    branches: tuple[Segment, ...] = ()
    labels: tuple[float, ...] = ()
    job: str = "rank"

    @property
    def length(self) -> int:
        return len(self.trunk.ids) + sum(len(branch.ids) for branch in self.branches)


@dataclass(frozen=True, slots=True)
class Batch:
    """The tensors of a packed batch of B rows of length L."""

    ids: torch.Tensor
    """(B, L)"""
    positions: torch.Tensor
    """(3, B, L): time, height, width, as Qwen3-VL counts them in the unpacked prompt."""
    mask: torch.Tensor
    """(B, 1, L, L), true where a token sees another."""
    image_at: torch.Tensor
    """(picture tokens,) indices into the flattened (B * L) rows."""
    pictures: tuple[int, ...]
    """The picture of each placeholder run, in the order of `image_at`."""
    write_at: torch.Tensor
    """(written tokens,) flat indices from which the next token is predicted."""
    write: torch.Tensor
    """(written tokens,) the ids to be predicted."""
    write_tree: torch.Tensor
    """(written tokens,) the tree of each, by its number as given to `pack`."""
    rank_at: torch.Tensor
    """(branches,) flat indices at which yes or no is read."""
    labels: torch.Tensor
    """(branches,) 1.0 for yes, 0.0 for no."""
    rank_tree: torch.Tensor
    """(branches,) the tree of each."""


@dataclass(slots=True)
class _Row:
    free: int
    trees: list[int] = field(default_factory=list)


def fill(trees: Sequence[Tree], length: int) -> list[list[int]]:
    """Distribute trees over rows of `length` tokens (first fit, longest first); returns tree numbers per row.

    Raises:
        ValueError: a tree is longer than a row.
    """
    rows: list[_Row] = []
    for number in sorted(range(len(trees)), key=lambda number: -trees[number].length):
        need = trees[number].length
        if need > length:
            raise ValueError(f"a tree of {need} tokens does not fit into rows of {length}")
        row = next((row for row in rows if row.free >= need), None)
        if row is None:
            row = _Row(length)
            rows.append(row)
        row.free -= need
        row.trees.append(number)
    return [row.trees for row in rows]


def pack(trees: Sequence[Tree], length: int, image_id: int, grid: tuple[int, int]) -> Batch:
    """Lay `trees` into rows of `length` tokens.

    Args:
        image_id: the placeholder token of pictures.
        grid: a picture's rows and columns of tokens in the prompt.

    Raises:
        ValueError: a tree is longer than a row.
    """
    rows = fill(trees, length)
    table = _Table(len(rows), length, image_id, grid)
    for row, numbers in enumerate(rows):
        for number in numbers:
            table.add(row, number, trees[number])
    return table.batch()


class _Table:
    def __init__(self, rows: int, length: int, image_id: int, grid: tuple[int, int]) -> None:
        self.length, self.image_id, self.grid = length, image_id, grid
        self.ids = np.zeros((rows, length), dtype=np.int64)
        self.positions = np.zeros((3, rows, length), dtype=np.int64)
        self.tree = np.full((rows, length), -1, dtype=np.int64)
        self.branch = np.full((rows, length), -1, dtype=np.int64)
        self.used = [0] * rows
        self.pictures: dict[int, tuple[int, ...]] = {}
        self.write_at: list[int] = []
        self.rank_at: list[int] = []
        self.labels: list[float] = []
        self.write_tree: list[int] = []
        self.rank_tree: list[int] = []

    def add(self, row: int, number: int, tree: Tree) -> None:
        next_position = self._segment(row, number, 0, tree.trunk, 0)
        for place, (branch, label) in enumerate(zip(tree.branches, tree.labels, strict=True), 1):
            self._segment(row, number, place, branch, next_position)
            self.rank_at.append(row * self.length + self.used[row] - 1)
            self.labels.append(label)
            self.rank_tree.append(number)

    def _segment(self, row: int, tree: int, branch: int, segment: Segment, position: int) -> int:
        start, stop = self.used[row], self.used[row] + len(segment.ids)
        self.used[row] = stop
        self.ids[row, start:stop] = segment.ids
        self.tree[row, start:stop] = tree
        self.branch[row, start:stop] = branch
        where, position = rope_positions(segment.ids, self.image_id, self.grid, position)
        self.positions[:, row, start:stop] = where
        flat = row * self.length
        if segment.pictures:
            self.pictures[flat + start] = segment.pictures
        self.write_at.extend(range(flat + stop - segment.answer - 1, flat + stop - 1))
        self.write_tree.extend([tree] * segment.answer)
        return position

    def batch(self) -> Batch:
        ids = torch.from_numpy(self.ids)
        write_at = torch.tensor(self.write_at, dtype=torch.long)
        return Batch(
            ids=ids,
            positions=torch.from_numpy(self.positions),
            mask=torch.from_numpy(self._mask()),
            image_at=torch.from_numpy(np.flatnonzero(self.ids == self.image_id)),
            pictures=tuple(picture for start in sorted(self.pictures) for picture in self.pictures[start]),
            write_at=write_at,
            write=ids.flatten()[write_at + 1],
            write_tree=torch.tensor(self.write_tree, dtype=torch.long),
            rank_at=torch.tensor(self.rank_at, dtype=torch.long),
            labels=torch.tensor(self.labels, dtype=torch.float32),
            rank_tree=torch.tensor(self.rank_tree, dtype=torch.long),
        )

    def _mask(self) -> npt.NDArray[np.bool_]:
        same_tree = self.tree[:, :, None] == self.tree[:, None, :]
        seen = (self.branch[:, None, :] == 0) | (self.branch[:, None, :] == self.branch[:, :, None])
        causal = np.tri(self.length, dtype=bool)
        mask: npt.NDArray[np.bool_] = (same_tree & seen & causal)[:, None]
        return mask


def rope_positions(ids: Iterable[int], image_id: int, grid: tuple[int, int], start: int) -> tuple[Integers, int]:
    """Qwen3-VL's positions of a run of tokens, of shape (3, length), and the position that follows.

    A picture's tokens share one time; height and width count its grid; what follows continues
    after the longer side.
    """
    tokens = np.asarray(list(ids), dtype=np.int64)
    rows, columns = grid
    per_picture = rows * columns
    is_picture = tokens == image_id
    step = np.where(is_picture, 0, 1)
    places = np.flatnonzero(is_picture)
    step[places[per_picture - 1 :: per_picture]] = max(rows, columns)
    before = start + np.concatenate(([0], np.cumsum(step)))
    positions = np.broadcast_to(before[:-1], (3, len(tokens))).copy()
    within = np.arange(len(places)) % per_picture
    positions[1, places] += within // columns
    positions[2, places] += within % columns
    return positions, int(before[-1])
