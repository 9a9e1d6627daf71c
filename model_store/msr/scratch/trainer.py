"""One optimizer step of the three jobs, and the schedule of the learning rate."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from model_store.msr.scratch.architecture import MERGE, Sizes
from model_store.msr.scratch.encoding import Encoder
from model_store.msr.scratch.forward import patches_of, read, see
from model_store.msr.scratch.generator import Pixels
from model_store.msr.scratch.muon import Muon
from model_store.msr.scratch.packing import Batch, Tree, pack


@dataclass(frozen=True, slots=True)
class Losses:
    """Mean losses by job: cross-entropy per written token or yes/no answer; nan for a job left out."""

    describe: float = math.nan
    summarize: float = math.nan
    match: float = math.nan
    rank: float = math.nan

    @classmethod
    def mean(cls, losses: Sequence["Losses"]) -> "Losses":
        return cls(*(_known_mean([getattr(one, job) for one in losses]) for job in cls.__slots__))

    def __str__(self) -> str:
        return ", ".join(f"{job} {getattr(self, job):.3f}" for job in self.__slots__)


class Learner:
    """Holds the model and its optimizer.

    Args:
        pixels: all pictures, of shape (pictures, height, width, 3).
        half: multiply in bfloat16, in the optimizer as well.
    """

    def __init__(
        self,
        model: Any,
        encoder: Encoder,
        sizes: Sizes,
        pixels: Pixels,
        *,
        learning_rate: float,
        weight_decay: float = 0.05,
        half: bool = False,
        seed: int = 0,
    ) -> None:
        self.model, self.encoder, self.sizes, self.pixels, self.half = model, encoder, sizes, pixels, half
        self.rng = np.random.default_rng(seed)
        # On CPU faster than the fused kernel, for short rows with a mask of their own.
        model.model.language_model.config._attn_implementation = "eager"
        self.optimizers = _optimizers(model, learning_rate, weight_decay, torch.bfloat16 if half else torch.float32)
        weights = [p for p in model.parameters() if p.requires_grad]
        self.parameters = weights

    def batch(self, trees: Sequence[Tree], length: int) -> Batch:
        rows, columns = self.sizes.grid
        return pack(trees, length, self.encoder.image_id, (rows // MERGE, columns // MERGE))

    def states(self, batch: Batch) -> torch.Tensor:
        """Last hidden states of shape (rows * length, hidden)."""
        if not batch.pictures:
            return read(self.model, batch, None)
        different, where = np.unique(np.asarray(batch.pictures), return_inverse=True)
        varied = vary(self.pixels[different], self.rng)
        tokens, levels = see(self.model, patches_of(varied, self.sizes), self.sizes)
        order = torch.from_numpy(where)
        return read(self.model, batch, (tokens[order], [level[order] for level in levels]))

    def margins(self, states: torch.Tensor, batch: Batch) -> torch.Tensor:
        """logit(yes) - logit(no) per branch, of shape (branches,)."""
        head = self.model.lm_head.weight
        direction = head[self.encoder.yes_id] - head[self.encoder.no_id]
        margins: torch.Tensor = states[batch.rank_at].float() @ direction.float()
        return margins

    def step(self, trees: Sequence[Tree], length: int, progress: float) -> Losses:
        """Learn from `trees`; `progress` in 0..1 sets the learning rate."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * one_cycle(progress)
        batch = self.batch(trees, length)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            states = self.states(batch)
        per_token = cross_entropy(
            states[batch.write_at].float() @ self.model.lm_head.weight.T, batch.write, reduction="none"
        )
        per_label = binary_cross_entropy_with_logits(self.margins(states, batch), batch.labels, reduction="none")
        loss = _mean(per_token) + _mean(per_label)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        described = torch.tensor([tree.job == "describe" for tree in trees])[batch.write_tree]
        matched = torch.tensor([tree.job == "match" for tree in trees])[batch.rank_tree]
        tokens, labels = per_token.detach(), per_label.detach()
        parts = tokens[described], tokens[~described], labels[matched], labels[~matched]
        return Losses(*(float(part.mean()) for part in parts))


def _optimizers(
    model: Any, learning_rate: float, weight_decay: float, dtype: torch.dtype
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for all else."""
    inner: list[torch.nn.Parameter] = []
    outer: list[torch.nn.Parameter] = []
    for name, weight in model.named_parameters():
        (inner if weight.ndim == 2 and "embed" not in name else outer).append(weight)
    return [
        Muon([{"params": inner, "peak": 10 * learning_rate}], dtype=dtype, weight_decay=weight_decay),
        torch.optim.AdamW([{"params": outer, "peak": learning_rate}], betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


def _known_mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _mean(losses: torch.Tensor) -> torch.Tensor:
    return losses.mean() if len(losses) else losses.sum()


def vary(pictures: Pixels, rng: np.random.Generator, reach: int = 6) -> Pixels:
    """Shift pictures of shape (n, height, width, 3) by up to `reach` pixels and mirror half of them.

    What enters at an edge repeats the edge. So a small catalogue teaches more than its own pictures.
    """
    height, width = pictures.shape[1:3]
    wide = np.pad(pictures, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    varied = np.empty_like(pictures)
    for number, (top, left) in enumerate(rng.integers(0, 2 * reach + 1, size=(len(pictures), 2))):
        one = wide[number, top : top + height, left : left + width]
        varied[number] = one[:, ::-1] if rng.random() < 0.5 else one
    return varied


def one_cycle(progress: float, warmup: float = 0.04, floor: float = 0.01) -> float:
    """The learning rate's share of its peak: up in a line, then down as a cosine."""
    if progress < warmup:
        return max(progress / warmup, floor)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warmup) / (1 - warmup))))
