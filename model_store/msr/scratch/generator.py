"""A trained model at work without a server: batched greedy writing and packed ranking."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import LogitsProcessorList

from model_store.msr.scratch.architecture import MERGE, Sizes
from model_store.msr.scratch.encoding import Encoder
from model_store.msr.scratch.forward import patches_of, read, see
from model_store.msr.scratch.packing import Segment, Tree, pack
from model_store.prompts.clean import clean
from model_store.views import InteractionView, ItemView

Pixels = npt.NDArray[np.uint8]
PRESENCE_PENALTY = 2.0
"""Keeps a small model from repeating a term without end (movielens-posters: 0 of 144 folds instead of 8)."""


class _PresencePenalty:
    """vLLM's `presence_penalty`: what is taken from the logit of every token that the answer already has."""

    def __init__(self, prompt_tokens: int, penalty: float) -> None:
        self.prompt_tokens, self.penalty = prompt_tokens, penalty

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        present = torch.zeros_like(scores).scatter_(1, ids[:, self.prompt_tokens :], 1.0)
        return scores - self.penalty * present


class Writer:
    """Asks a model in this process as the service asks it through vLLM.

    Args:
        pixels: pictures of shape (pictures, height, width, 3); calls name them by row.
        batch: prompts that are answered at the same time.
    """

    def __init__(self, model: Any, encoder: Encoder, sizes: Sizes, pixels: Pixels, batch: int = 128) -> None:
        self.model, self.encoder, self.sizes, self.pixels, self.batch = model.eval(), encoder, sizes, pixels, batch
        rows, columns = sizes.grid
        self._grid = rows // MERGE, columns // MERGE

    def describe(self, items: Sequence[ItemView], pictures: Sequence[int], max_tokens: int = 24) -> list[str]:
        """Write an item summary for each item and its picture."""
        texts: list[str] = []
        for start in range(0, len(items), self.batch):
            some = slice(start, start + self.batch)
            prompts = [self.encoder.describe(item) for item in items[some]]
            patches = patches_of(self.pixels[list(pictures[some])], self.sizes)
            texts += self._write(prompts, max_tokens, patches)
        return texts

    def summarize(
        self,
        steps: Sequence[tuple[str, Sequence[InteractionView]]],
        max_tokens: int = 96,
        presence_penalty: float = PRESENCE_PENALTY,
    ) -> list[str]:
        """Write the summary that follows each (old summary, block)."""
        prompts = [self.encoder.summarize(old, block) for old, block in steps]
        order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
        texts = [""] * len(prompts)
        for start in range(0, len(order), self.batch):
            some = order[start : start + self.batch]
            written = self._write([prompts[n] for n in some], max_tokens, presence_penalty=presence_penalty)
            for number, text in zip(some, written, strict=True):
                texts[number] = text
        return texts

    def fold(
        self,
        histories: Sequence[Sequence[InteractionView]],
        block_size: int = 3,
        each: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[str]:
        """Fold whole histories, each from an empty summary, block by block; `each` hears (blocks done, blocks)."""
        summaries = [""] * len(histories)
        blocks = max((-(-len(history) // block_size) for history in histories), default=0)
        for number in range(blocks):
            start = number * block_size
            going = [place for place, history in enumerate(histories) if len(history) > start]
            steps = [(summaries[place], histories[place][start : start + block_size]) for place in going]
            for place, text in zip(going, self.summarize(steps), strict=True):
                summaries[place] = text or summaries[place]
            each(number + 1, blocks)
        return summaries

    def rank(self, users: Sequence[Sequence[int]], candidates: Sequence[Sequence[Segment]]) -> list[list[float]]:
        """logit(yes) - logit(no) per candidate; `users` are encoded prefixes (`Encoder.rank_user`)."""
        logits: list[list[float]] = []
        for start in range(0, len(users), 8):
            some = slice(start, start + 8)
            trees = [
                Tree(Segment(list(prefix)), tuple(branches), (0.0,) * len(branches))
                for prefix, branches in zip(users[some], candidates[some], strict=True)
            ]
            with torch.inference_mode():
                logits += self._margins(trees)
        return logits

    def _margins(self, trees: Sequence[Tree]) -> list[list[float]]:
        batch = pack(trees, max(tree.length for tree in trees), self.encoder.image_id, self._grid)
        shown = None
        if batch.pictures:
            shown = see(self.model, patches_of(self.pixels[list(batch.pictures)], self.sizes), self.sizes)
        head = self.model.lm_head.weight
        margins = read(self.model, batch, shown)[batch.rank_at] @ (head[self.encoder.yes_id] - head[self.encoder.no_id])
        found: list[list[float]] = [[] for _ in trees]
        for tree, margin in zip(batch.rank_tree.tolist(), margins.tolist(), strict=True):
            found[tree].append(margin)
        return found

    def _write(
        self,
        prompts: Sequence[Sequence[int]],
        tokens: int,
        patches: torch.Tensor | None = None,
        presence_penalty: float = 0.0,
    ) -> list[str]:
        longest = max(map(len, prompts))
        padded = [[self.encoder.end_id] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
        ids = torch.tensor(padded)
        attention = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        self.model.model.rope_deltas = None
        pictures: dict[str, torch.Tensor] = {}
        if patches is not None:
            pictures = {
                "pixel_values": patches.flatten(0, 1),
                "image_grid_thw": torch.tensor([[1, *self.sizes.grid]] * len(prompts)),
                "mm_token_type_ids": (ids == self.encoder.image_id).int(),
            }
        with torch.inference_mode():
            written = self.model.generate(
                input_ids=ids,
                attention_mask=attention,
                max_new_tokens=tokens,
                do_sample=False,
                logits_processor=LogitsProcessorList([_PresencePenalty(longest, presence_penalty)]),
                **pictures,
            )
        texts: list[str] = self.encoder.tokenizer.batch_decode(written[:, longest:], skip_special_tokens=True)
        return [clean(text, self.encoder.prompts.limits.summary) for text in texts]
