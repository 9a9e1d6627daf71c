"""One optimizer step of the three jobs, and the schedule of the learning rate."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from model_store.msr.scratch.architecture import Sizes
from model_store.msr.scratch.encoding import Encoder
from model_store.msr.scratch.forward import decode, encode_images, label_margins, patches_of
from model_store.msr.scratch.generator import Pixels
from model_store.msr.scratch.muon import Muon
from model_store.msr.scratch.packing import Batch, PackedPrompt, pack

_WEIGHT_DECAY = 0.05
_SHIFT = 6
_WARMUP, _FLOOR = 0.04, 0.01


@dataclass(frozen=True, slots=True)
class Losses:
    """Mean losses by job: cross-entropy per generated token or yes/no answer; nan for a job without examples."""

    describe: float
    summarize: float
    match: float
    rank: float

    @classmethod
    def mean(cls, losses: Sequence["Losses"]) -> "Losses":
        return cls(*(_known_mean([getattr(one, job) for one in losses]) for job in cls.__slots__))

    def __str__(self) -> str:
        return ", ".join(f"{job} {getattr(self, job):.3f}" for job in self.__slots__)


class Trainer:
    """Holds the model and its optimizers.

    Args:
        pixels: all pictures, of shape (pictures, height, width, 3).
        bf16: multiply in bfloat16, in the optimizer as well.
    """

    def __init__(
        self, model: Any, encoder: Encoder, sizes: Sizes, pixels: Pixels, *, learning_rate: float, bf16: bool, seed: int
    ) -> None:
        self.model, self.encoder, self.sizes, self.pixels, self.bf16 = model, encoder, sizes, pixels, bf16
        self.rng = np.random.default_rng(seed)
        # On CPU faster than the fused kernel, for short rows with individual masks.
        model.model.language_model.config._attn_implementation = "eager"
        self.optimizers = _optimizers(model, learning_rate, torch.bfloat16 if bf16 else torch.float32)
        self.parameters = [weight for weight in model.parameters() if weight.requires_grad]

    def step(self, prompts: Sequence[PackedPrompt], length: int, progress: float) -> Losses:
        """Learn from `prompts`, in rows of `length` tokens; `progress` in 0..1 sets the learning rate."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * one_cycle(progress)
        batch = pack(prompts, length, self.encoder.image_id, self.sizes.token_grid)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            states = self._states(batch)
        per_token = cross_entropy(
            states[batch.write_at].float() @ self.model.lm_head.weight.T, batch.write, reduction="none"
        )
        margins = label_margins(self.model, states, batch, self.encoder.yes_id, self.encoder.no_id)
        per_label = binary_cross_entropy_with_logits(margins, batch.labels, reduction="none")
        loss = _mean(per_token) + _mean(per_label)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        described = torch.tensor([prompt.job == "describe" for prompt in prompts])[batch.write_prompt]
        matched = torch.tensor([prompt.job == "match" for prompt in prompts])[batch.rank_prompt]
        tokens, labels = per_token.detach(), per_label.detach()
        parts = tokens[described], tokens[~described], labels[matched], labels[~matched]
        return Losses(*(float(part.mean()) for part in parts))

    def _states(self, batch: Batch) -> torch.Tensor:
        """Last hidden states of shape (rows * length, hidden)."""
        if not batch.pictures:
            return decode(self.model, batch, None)
        different, where = np.unique(np.asarray(batch.pictures), return_inverse=True)
        patches = patches_of(augment(self.pixels[different], self.rng), self.sizes)
        tokens, levels = encode_images(self.model, patches, self.sizes)
        order = torch.from_numpy(where)
        return decode(self.model, batch, (tokens[order], [level[order] for level in levels]))


def _optimizers(model: Any, learning_rate: float, dtype: torch.dtype) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for all else."""
    inner: list[torch.nn.Parameter] = []
    outer: list[torch.nn.Parameter] = []
    for name, weight in model.named_parameters():
        (inner if weight.ndim == 2 and "embed" not in name else outer).append(weight)
    return [
        Muon([{"params": inner, "peak": 10 * learning_rate}], dtype=dtype, weight_decay=_WEIGHT_DECAY),
        torch.optim.AdamW([{"params": outer, "peak": learning_rate}], betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


def _known_mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _mean(losses: torch.Tensor) -> torch.Tensor:
    return losses.mean() if len(losses) else losses.sum()


def augment(pictures: Pixels, rng: np.random.Generator) -> Pixels:
    """Shift pictures of shape (n, height, width, 3) by up to `_SHIFT` pixels, and mirror half of them."""
    height, width = pictures.shape[1:3]
    wide = np.pad(pictures, ((0, 0), (_SHIFT, _SHIFT), (_SHIFT, _SHIFT), (0, 0)), mode="edge")
    augmented = np.empty_like(pictures)
    for number, (top, left) in enumerate(rng.integers(0, 2 * _SHIFT + 1, size=(len(pictures), 2))):
        one = wide[number, top : top + height, left : left + width]
        augmented[number] = one[:, ::-1] if rng.random() < 0.5 else one
    return augmented


def one_cycle(progress: float) -> float:
    """The learning rate as a share of its peak: a linear rise, then a cosine decay."""
    if progress < _WARMUP:
        return max(progress / _WARMUP, _FLOOR)
    return _FLOOR + (1 - _FLOOR) * 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - _WARMUP) / (1 - _WARMUP))))
