"""Packs many prompts into one row, with one prefix for many candidates.

A packed prompt is a prefix, which every suffix sees, and suffixes that see the prefix and
themselves. Ranking N candidates costs one prefix and N short suffixes instead of N whole prompts;
a generating example is only a prefix. Prompts are put next to each other in rows of one length.
The attention mask separates them and positions restart, which gives every answer the value that
it has in its unpacked prompt.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import torch

Ids = list[int]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of tokens. `pictures` has, in order, the pictures of its placeholder tokens.

    `answer` is the number of last tokens that the model should generate: the loss is computed on them.
    """

    ids: Ids
    pictures: tuple[int, ...] = ()
    answer: int = 0


@dataclass(frozen=True, slots=True)
class PackedPrompt:
    """A prefix and its suffixes.

    `labels` has one entry (1 for yes, 0 for no) per suffix, or none at all if the suffixes are generated.
    """

    prefix: Segment
    suffixes: tuple[Segment, ...] = ()
    labels: tuple[float, ...] = ()
    job: str = "rank"

    @property
    def length(self) -> int:
        return len(self.prefix.ids) + sum(len(suffix.ids) for suffix in self.suffixes)


@dataclass(frozen=True, slots=True)
class Batch:
    """The tensors of a packed batch of B rows of length L."""

    ids: torch.Tensor
    """(B, L)"""
    positions: torch.Tensor
    """(3, B, L): time, height, width, as Qwen3-VL counts them in the unpacked prompt; three times the same without a
    grid."""
    mask: torch.Tensor
    """(B, 1, L, L), true where a token attends to another."""
    image_at: torch.Tensor
    """(picture tokens,) indices into the flattened (B * L) rows."""
    pictures: tuple[int, ...]
    """The picture of each placeholder run, in the order of `image_at`."""
    write_at: torch.Tensor
    """(generated tokens,) flat indices from which the next token is predicted."""
    write: torch.Tensor
    """(generated tokens,) the ids to be predicted."""
    write_prompt: torch.Tensor
    """(generated tokens,) the prompt of each, by its number in the argument of `pack`."""
    rank_at: torch.Tensor
    """(suffixes,) flat indices at which yes or no is read."""
    labels: torch.Tensor
    """(suffixes,) 1.0 for yes, 0.0 for no."""
    rank_prompt: torch.Tensor
    """(suffixes,) the prompt of each."""

    def to(self, device: torch.device) -> "Batch":
        """The same with its tensors on `device`."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return Batch(
            **{name: value if isinstance(value, tuple) else value.to(device) for name, value in values.items()}
        )


def fill(prompts: Sequence[PackedPrompt], length: int) -> list[list[int]]:
    """Distribute prompts over rows of `length` tokens (first fit, longest first); returns their numbers per row.

    Raises:
        ValueError: a prompt is longer than a row.
    """
    rows: list[list[int]] = []
    free: list[int] = []
    for number in sorted(range(len(prompts)), key=lambda number: -prompts[number].length):
        need = prompts[number].length
        if need > length:
            raise ValueError(f"a prompt of {need} tokens does not fit into rows of {length}")
        row = next((row for row, room in enumerate(free) if room >= need), len(rows))
        if row == len(rows):
            rows.append([])
            free.append(length)
        rows[row].append(number)
        free[row] -= need
    return rows


def pack(prompts: Sequence[PackedPrompt], length: int, image_id: int, grid: tuple[int, int] | None) -> Batch:
    """Pack `prompts` into rows of `length` tokens.

    Args:
        image_id: the placeholder token of pictures.
        grid: a picture's rows and columns of tokens in the prompt; None counts them like those of a text.

    Raises:
        ValueError: a prompt is longer than a row.
    """
    rows = fill(prompts, length)
    packer = _Packer(len(rows), length, image_id, grid)
    for row, numbers in enumerate(rows):
        for number in numbers:
            packer.add(row, number, prompts[number])
    return packer.batch()


class _Packer:
    def __init__(self, rows: int, length: int, image_id: int, grid: tuple[int, int] | None) -> None:
        self.length, self.image_id, self.grid = length, image_id, grid
        self.ids = np.zeros((rows, length), dtype=np.int64)
        self.positions = np.zeros((3, rows, length), dtype=np.int64)
        self.prompt = np.full((rows, length), -1, dtype=np.int64)
        self.suffix = np.full((rows, length), -1, dtype=np.int64)
        self.used = [0] * rows
        self.pictures: dict[int, tuple[int, ...]] = {}
        self.write_at: list[int] = []
        self.rank_at: list[int] = []
        self.labels: list[float] = []
        self.write_prompt: list[int] = []
        self.rank_prompt: list[int] = []

    def add(self, row: int, number: int, prompt: PackedPrompt) -> None:
        next_position = self._segment(row, number, 0, prompt.prefix, 0)
        for place, suffix in enumerate(prompt.suffixes, 1):
            self._segment(row, number, place, suffix, next_position)
            if prompt.labels:
                self.rank_at.append(row * self.length + self.used[row] - 1)
                self.rank_prompt.append(number)
        self.labels.extend(prompt.labels)

    def _segment(self, row: int, prompt: int, suffix: int, segment: Segment, position: int) -> int:
        start, stop = self.used[row], self.used[row] + len(segment.ids)
        self.used[row] = stop
        self.ids[row, start:stop] = segment.ids
        self.prompt[row, start:stop] = prompt
        self.suffix[row, start:stop] = suffix
        positions, next_position = rope_positions(segment.ids, self.image_id, self.grid, position)
        self.positions[:, row, start:stop] = positions
        flat = row * self.length
        if segment.pictures:
            self.pictures[flat + start] = segment.pictures
        self.write_at.extend(range(flat + stop - segment.answer - 1, flat + stop - 1))
        self.write_prompt.extend([prompt] * segment.answer)
        return next_position

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
            write_prompt=torch.tensor(self.write_prompt, dtype=torch.long),
            rank_at=torch.tensor(self.rank_at, dtype=torch.long),
            labels=torch.tensor(self.labels, dtype=torch.float32),
            rank_prompt=torch.tensor(self.rank_prompt, dtype=torch.long),
        )

    def _mask(self) -> npt.NDArray[np.bool_]:
        same_prompt = self.prompt[:, :, None] == self.prompt[:, None, :]
        seen = (self.suffix[:, None, :] == 0) | (self.suffix[:, None, :] == self.suffix[:, :, None])
        mask: npt.NDArray[np.bool_] = (same_prompt & seen & np.tri(self.length, dtype=bool))[:, None]
        return mask


def rope_positions(ids: Iterable[int], image_id: int, grid: tuple[int, int] | None, start: int) -> tuple[Integers, int]:
    """Qwen3-VL's positions of a run of tokens, of shape (3, length), and the position that follows.

    A picture's tokens have one time; height and width count in its grid; the text after it
    continues after the longer side. Without a grid every token is one step.
    """
    tokens = np.asarray(list(ids), dtype=np.int64)
    if grid is None:
        return np.broadcast_to(np.arange(start, start + len(tokens)), (3, len(tokens))), start + len(tokens)
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
