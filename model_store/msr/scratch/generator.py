"""Runs a trained model without a server: batched greedy generation and packed ranking."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import LogitsProcessorList

from model_store.msr.scratch.architecture import Sizes
from model_store.msr.scratch.encoding import Encoder
from model_store.msr.scratch.forward import decode, encode_images, label_margins, patches_of
from model_store.msr.scratch.packing import PackedPrompt, Segment, pack
from model_store.prompts.clean import clean
from model_store.views import InteractionView, ItemView

Pixels = npt.NDArray[np.uint8]
SUMMARY_TOKENS, DESCRIPTION_TOKENS = 96, 24
PRESENCE_PENALTY = 2.0
"""Keeps a small model from repeating a term endlessly (movielens-posters: 0 of 144 folds instead of 8)."""
BLOCK = 3
"""Events in one fold, the default of the service."""
_GENERATED_AT_ONCE, _RANKED_AT_ONCE = 128, 8


class _PresencePenalty:
    """vLLM's `presence_penalty`: subtracted from the logit of every token that the answer already contains."""

    def __init__(self, prompt_tokens: int, penalty: float) -> None:
        self.prompt_tokens, self.penalty = prompt_tokens, penalty

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        present = torch.zeros_like(scores).scatter_(1, ids[:, self.prompt_tokens :], 1.0)
        return scores - self.penalty * present


class Generator:
    """Asks a model in this process as the service asks it through vLLM.

    Args:
        pixels: pictures of shape (pictures, height, width, 3); calls refer to them by row.
    """

    def __init__(self, model: Any, encoder: Encoder, sizes: Sizes, pixels: Pixels) -> None:
        self.model, self.encoder, self.sizes, self.pixels = model.eval(), encoder, sizes, pixels

    def describe(self, items: Sequence[ItemView], pictures: Sequence[int]) -> list[str]:
        """Write an item summary for each item and its picture."""
        texts: list[str] = []
        for start in range(0, len(items), _GENERATED_AT_ONCE):
            some = slice(start, start + _GENERATED_AT_ONCE)
            prompts = [self.encoder.describe(item) for item in items[some]]
            patches = patches_of(self.pixels[list(pictures[some])], self.sizes)
            texts += self._generate(prompts, DESCRIPTION_TOKENS, patches)
        return texts

    def summarize(
        self,
        steps: Sequence[tuple[str, Sequence[InteractionView]]],
        max_tokens: int = SUMMARY_TOKENS,
        presence_penalty: float = PRESENCE_PENALTY,
    ) -> list[str]:
        """Write the summary that follows each (old summary, block)."""
        prompts = [self.encoder.summarize(old, block) for old, block in steps]
        order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
        texts = [""] * len(prompts)
        for start in range(0, len(order), _GENERATED_AT_ONCE):
            some = order[start : start + _GENERATED_AT_ONCE]
            written = self._generate([prompts[n] for n in some], max_tokens, presence_penalty=presence_penalty)
            for number, text in zip(some, written, strict=True):
                texts[number] = text
        return texts

    def fold(self, histories: Sequence[Sequence[InteractionView]], progress: Callable[[float], None]) -> list[str]:
        """Fold whole histories, each from an empty summary, block by block; `progress` gets the share done, 0..1."""
        summaries = [""] * len(histories)
        longest = max(map(len, histories), default=0)
        for start in range(0, longest, BLOCK):
            going = [place for place, history in enumerate(histories) if len(history) > start]
            steps = [(summaries[place], histories[place][start : start + BLOCK]) for place in going]
            for place, text in zip(going, self.summarize(steps), strict=True):
                summaries[place] = text or summaries[place]
            progress(min(1.0, (start + BLOCK) / longest))
        return summaries

    def rank(self, users: Sequence[Sequence[int]], candidates: Sequence[Sequence[Segment]]) -> list[list[float]]:
        """logit(yes) - logit(no) per candidate; `users` are encoded prefixes (`Encoder.rank_user`)."""
        logits: list[list[float]] = []
        for start in range(0, len(users), _RANKED_AT_ONCE):
            some = slice(start, start + _RANKED_AT_ONCE)
            prompts = [
                PackedPrompt(Segment(list(prefix)), tuple(suffixes), (0.0,) * len(suffixes))
                for prefix, suffixes in zip(users[some], candidates[some], strict=True)
            ]
            with torch.inference_mode():
                logits += self._margins(prompts)
        return logits

    def _margins(self, prompts: Sequence[PackedPrompt]) -> list[list[float]]:
        length = max(prompt.length for prompt in prompts)
        batch = pack(prompts, length, self.encoder.image_id, self.sizes.token_grid)
        pictures = None
        if batch.pictures:
            patches = patches_of(self.pixels[list(batch.pictures)], self.sizes)
            pictures = encode_images(self.model, patches, self.sizes)
        states = decode(self.model, batch, pictures)
        margins = label_margins(self.model, states, batch, self.encoder.yes_id, self.encoder.no_id)
        found: list[list[float]] = [[] for _ in prompts]
        for prompt, margin in zip(batch.rank_prompt.tolist(), margins.tolist(), strict=True):
            found[prompt].append(margin)
        return found

    def _generate(
        self,
        prompts: Sequence[Sequence[int]],
        max_tokens: int,
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
                max_new_tokens=max_tokens,
                do_sample=False,
                logits_processor=LogitsProcessorList([_PresencePenalty(longest, presence_penalty)]),
                **pictures,
            )
        texts: list[str] = self.encoder.tokenizer.batch_decode(written[:, longest:], skip_special_tokens=True)
        return [clean(text, self.encoder.prompts.limits.summary) for text in texts]
