"""A language model with soft tokens that ranks packed prompts."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from model_store.msr.parts import lora
from model_store.msr.parts.encoder import Projector
from model_store.msr.parts.forward import decode, margins, pack_texts
from model_store.msr.scratch.packing import Batch, PackedPrompt, Segment
from model_store.registry.manifest import Labels

ROWS_AT_ONCE = 2
"""Rows of one forward pass: more are slower on CPUs, whose caches they leave."""


@dataclass(frozen=True, slots=True)
class PackedRanker:
    """Scores candidates with a model in this process.

    Attributes:
        model: plain, or with adapters in its layers.
        features: of all pictures, of shape (pictures, cells, features).
        bf16: compute the adapters and the projector in bfloat16, as the model was loaded.
    """

    model: Any
    projector: Projector
    labels: Labels
    features: torch.Tensor
    bf16: bool

    @property
    def head(self) -> torch.Tensor:
        """The output matrix, of shape (vocabulary, width)."""
        matrix: torch.Tensor = self.model.get_output_embeddings().weight
        return matrix

    @property
    def device(self) -> torch.device:
        """Where the model computes; batches and features are moved there."""
        found: torch.device = self.head.device
        return found

    def batches(self, prompts: Sequence[PackedPrompt]) -> Iterator[Batch]:
        """Packs of `ROWS_AT_ONCE` prompts, one in a row."""
        for start in range(0, len(prompts), ROWS_AT_ONCE):
            some = prompts[start : start + ROWS_AT_ONCE]
            yield pack_texts(some, max(prompt.length for prompt in some)).to(self.device)

    def states(self, batch: Batch, *, frozen_projector: bool = False) -> torch.Tensor:
        """Last hidden states, of shape (rows * length, width); a frozen projector gets no gradient."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16), self._one_dtype():
            soft = (
                self.projector(self.features[list(batch.pictures)].to(self.device).float()) if batch.pictures else None
            )
            if soft is not None and frozen_projector:
                soft = soft.detach()
            return decode(self.model.model, batch, soft)

    def odds(self, batch: Batch, states: torch.Tensor) -> torch.Tensor:
        """logit(yes) - logit(no) of each suffix, of shape (suffixes,)."""
        return margins(self.head, states, batch.rank_at, self.labels.yes_id, self.labels.no_id)

    def score(self, prompts: Sequence[PackedPrompt]) -> list[list[float]]:
        """logit(yes) - logit(no) of each prompt's suffixes."""
        found: list[list[float]] = []
        for batch in self.batches(prompts):
            with torch.inference_mode():
                values = self.odds(batch, self.states(batch))
            rows: list[list[float]] = [[] for _ in range(len(batch.ids))]
            for prompt, value in zip(batch.rank_prompt.tolist(), values.tolist(), strict=True):
                rows[prompt].append(value)
            found += rows
        return found

    def rank(self, users: Sequence[Sequence[int]], candidates: Sequence[Sequence[Segment]]) -> list[list[float]]:
        """The same for encoded users and their candidates."""
        return self.score(
            [
                PackedPrompt(Segment(list(user)), tuple(shown), (0.0,) * len(shown))
                for user, shown in zip(users, candidates, strict=True)
            ]
        )

    def _one_dtype(self) -> AbstractContextManager[Any]:
        return lora.in_one_dtype(self.model) if self.bf16 else nullcontext()
