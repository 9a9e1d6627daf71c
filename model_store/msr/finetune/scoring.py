"""The model's answer in this process: log-odds of yes against no at the answer's position."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from model_store.msr.finetune.rendering import Collator, Prompt, example
from model_store.registry.manifest import Labels


def answer_logits(model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """The logits (float32) over the vocabulary where each row's answer is predicted, and the answers' ids.

    Only the last two positions go through the output layer: over a vocabulary of 150,000 tokens, whole prompts would
    take more memory than the rest of the step.

    Args:
        batch: of `Collator`, which has all answers in the last column.

    Returns:
        Shapes (rows, vocabulary) and (rows,).
    """
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    logits = model(**inputs, logits_to_keep=2, use_cache=False).logits
    return logits[:, 0].float(), batch["labels"][:, -1]


class Scorer:
    """Scores prompts with a model, of which only the forward pass is used.

    Args:
        model: loaded, on its device.
        rows: prompts in one pass.
    """

    def __init__(self, model: Any, collator: Collator, labels: Labels, rows: int = 8) -> None:
        self._model, self._collator, self._labels, self._rows = model, collator, labels, rows

    def __call__(self, prompts: Sequence[Prompt], progress: Callable[[float], None] = lambda done: None) -> list[float]:
        """logit(yes) - logit(no) of each prompt; `progress` is called with the share that is done."""
        training = self._model.training
        self._model.eval()
        margins: list[float] = []
        try:
            for start in range(0, len(prompts), self._rows):
                margins += self._batch(prompts[start : start + self._rows])
                progress(len(margins) / len(prompts))
        finally:
            self._model.train(training)
        return margins

    def _batch(self, prompts: Sequence[Prompt]) -> list[float]:
        device = next(self._model.parameters()).device
        batch = {name: value.to(device) for name, value in self._collator([example(one) for one in prompts]).items()}
        with torch.no_grad():
            logits, _ = answer_logits(self._model, batch)
        margins: list[float] = (logits[:, self._labels.yes_id] - logits[:, self._labels.no_id]).tolist()
        return margins
