"""TRL's trainer with the loss of one answer token, and with validation by our own forward pass."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from accelerate.utils import gather_object
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback
from trl import SFTTrainer

from model_store.msr.finetune import FinetuneError
from model_store.msr.finetune.rendering import Collator, Prompt
from model_store.msr.finetune.scoring import Scorer, answer_logits
from model_store.progress import Report
from model_store.registry.manifest import Labels

AUC = "auc"
"""The metric that chooses the best checkpoint."""
Metrics = dict[str, float]


class RankingTrainer(SFTTrainer):  # type: ignore[misc]
    """Learns the answer only.

    Args:
        validation: the prompts of the validation users.
        measure: from their log-odds to metrics in 0..1, of which `AUC` chooses the best checkpoint.
    """

    def __init__(
        self,
        *,
        labels: Labels,
        collator: Collator,
        validation: Sequence[Prompt],
        measure: Callable[[list[float]], Metrics],
        rows: int,
        label_smoothing: float,
        **arguments: Any,
    ) -> None:
        super().__init__(data_collator=collator, **arguments)
        self.remove_callback(PrinterCallback)
        self._label_smoothing = label_smoothing
        self._yes_no = labels.yes_id, labels.no_id
        self._labels, self._validation, self._measure, self._rows = labels, validation, measure, rows

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Cross-entropy of the answers over the vocabulary.

        With label smoothing e the target is 1 - e for the answer and e for the other label. TRL would spread it over
        the whole vocabulary, of which p(yes) never reads anything.
        """
        logits, answers = answer_logits(model, inputs)
        chances = logits.log_softmax(-1)
        yes, no = self._yes_no
        others = torch.where(answers == yes, no, yes)
        own, other = (chances.gather(1, ids[:, None])[:, 0] for ids in (answers, others))
        losses = -((1 - self._label_smoothing) * own + self._label_smoothing * other)
        if num_items_in_batch is None:
            return losses.mean()
        # As in Trainer: the count is that of all processes, over which gradients are averaged.
        processes = self.accelerator.num_processes if self.args.average_tokens_across_devices else 1
        return losses.sum() / num_items_in_batch * processes

    def score(self, prompts: Sequence[Prompt], progress: Callable[[float], None] = lambda done: None) -> list[float]:
        """Log-odds of each prompt; every process scores its share, and all get all.

        Raises:
            FinetuneError: one is infinite or no number.
        """
        processes, own = self.accelerator.num_processes, self.accelerator.process_index
        scorer = Scorer(self.accelerator.unwrap_model(self.model), self.data_collator, self._labels, self._rows)
        with self.compute_loss_context_manager():
            margins = scorer(prompts[own::processes], progress)
        if processes > 1:
            numbered = gather_object(list(zip(range(own, len(prompts), processes), margins, strict=True)))
            margins = [margin for _, margin in sorted(numbered)]
        if not all(map(math.isfinite, margins)):
            raise FinetuneError(
                f"after {self.state.global_step} steps the model's scores are no numbers: the training has diverged. "
                "Use a smaller --learning-rate"
            )
        return margins

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **keywords: Any) -> Metrics:
        """The metrics of the validation users; in the form that early stopping and the best checkpoint read."""
        found = self._measure(self.score(self._validation))
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in found.items()}
        self.log(metrics)
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


class ProgressCallback(TrainerCallback):  # type: ignore[misc]
    """Reports steps, loss and validation AUC."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._note = ""
        self._auc = ""

    def on_log(self, args: Any, state: Any, control: Any, logs: Metrics, **others: Any) -> None:
        if "loss" in logs:
            self._note = f"loss {logs['loss']:.4f}"
        if f"eval_{AUC}" in logs:
            self._auc = f", validation AUC {100 * logs[f'eval_{AUC}']:.1f}"

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        note = f"step {state.global_step} of {state.max_steps}: {self._note}{self._auc}"
        self._report("training", state.global_step / max(1, state.max_steps), note)


class PatienceCallback(EarlyStoppingCallback):  # type: ignore[misc]
    """Ends the run after some validations without a better AUC.

    A run that is resumed after its end makes one more step, because Trainer does, which is neither validated nor kept.
    """

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        if self.early_stopping_patience_counter >= self.early_stopping_patience:
            control.should_training_stop, control.should_evaluate, control.should_save = True, False, False


def callbacks(report: Report, patience: int) -> list[Any]:
    """Progress, and an end after `patience` evaluations without a better AUC."""
    return [ProgressCallback(report), PatienceCallback(early_stopping_patience=patience)]
