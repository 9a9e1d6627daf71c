"""Optimizer steps on packed prompts: first the projector alone, then the projector and LoRA."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from model_store.msr.parts.forward import token_loss
from model_store.msr.parts.ranker import PackedRanker
from model_store.msr.scratch.packing import Batch, PackedPrompt
from model_store.msr.scratch.trainer import one_cycle

Stage = Literal["align", "rank"]


@dataclass(frozen=True, slots=True)
class StepOptions:
    """How a step learns. Rates are peaks of one-cycle schedules."""

    lora_rate: float = 1e-3
    projector_rate: float = 1e-3
    smoothing: float = 0.05
    """Labels become `smoothing / 2` and `1 - smoothing / 2`."""
    softmax_weight: float = 0.5
    """Of the within-user term: cross-entropy of the positives among all candidates of a user."""
    clip: float = 1.0
    rank_projector: bool = True
    """Whether the projector learns from ranking too. If not, and only the last layers are adapted, gradients need not
    pass through the others, which makes a step a quarter cheaper."""


class Trainer:
    """Holds a ranker with adapters (`lora.adapted`), whose projector learns as well, and their optimizer."""

    def __init__(self, ranker: PackedRanker, options: StepOptions) -> None:
        self.ranker, self.options = ranker, options
        self.adapters = [weight for weight in ranker.model.parameters() if weight.requires_grad]
        groups = [
            {"params": list(ranker.projector.parameters()), "peak": options.projector_rate},
            {"params": self.adapters, "peak": options.lora_rate},
        ]
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0, lr=0.0)

    def step(self, prompts: Sequence[PackedPrompt], stage: Stage, progress: float) -> float:
        """Learn from `prompts`; `progress` in 0..1 within the stage sets the learning rate. Returns the mean loss."""
        for weight in self.adapters:
            weight.requires_grad_(stage == "rank")
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * one_cycle(progress)
        total = 0.0
        for batch in self.ranker.batches(prompts):
            loss = self._loss(batch, stage == "rank" and not self.options.rank_projector) * (
                len(batch.ids) / len(prompts)
            )
            loss.backward()
            total += float(loss.detach())
        weights = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        torch.nn.utils.clip_grad_norm_([weight for weight in weights if weight.grad is not None], self.options.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return total

    def _loss(self, batch: Batch, frozen_projector: bool) -> torch.Tensor:
        """The mean over the batch's rows."""
        states = self.ranker.states(batch, frozen_projector=frozen_projector)
        loss = states.new_zeros((), dtype=torch.float32)
        if len(batch.write):
            loss = loss + token_loss(self.ranker.head, states, batch)
        if len(batch.labels):
            odds = self.ranker.odds(batch, states)
            smooth = batch.labels * (1 - self.options.smoothing) + self.options.smoothing / 2
            loss = loss + binary_cross_entropy_with_logits(odds, smooth)
            if self.options.softmax_weight:
                loss = loss + self.options.softmax_weight * among_candidates(odds, batch)
        return loss


def among_candidates(odds: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Cross-entropy of the positives among each prompt's candidates, averaged over the prompts that have both kinds.

    A positive competes with the negatives alone, so that several positives don't push each other down.
    """
    terms = []
    for prompt in batch.rank_prompt.unique():
        mine = batch.rank_prompt == prompt
        wanted, other = odds[mine & (batch.labels > 0.5)], odds[mine & (batch.labels < 0.5)]
        if len(wanted) and len(other):
            rivals = torch.logsumexp(other, 0).expand(len(wanted))
            terms.append((torch.logaddexp(wanted, rivals) - wanted).mean())
    return torch.stack(terms).mean() if terms else odds.sum() * 0
