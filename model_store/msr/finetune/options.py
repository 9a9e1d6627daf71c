"""Everything that a user may choose about a fine-tuning."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from model_store.pictures import PictureSize
from model_store.prompts import RECENTS

Precision = Literal["auto", "float32", "bfloat16"]
_NOT_TRAINING = ("keep_adapter", "check_vllm", "check_memory", "scoring_rows", "neighbours")
"""Options that do not change the weights: a run may be resumed with others."""


@dataclass(frozen=True, slots=True)
class FinetuneOptions:
    """The defaults are those of the MLLM-MSR paper, where it names them.

    From the paper: `learning_rate`, AdamW, `rank`, one epoch, one negative per positive. Its negatives are uniform:
    `popular_negatives=0`.
    """

    seed: int = 0
    epochs: float = 1.0
    max_steps: int | None = None
    learning_rate: float = 2e-5
    warmup: float = 0.03
    """Share of the steps in which the learning rate rises; then it falls in a cosine."""
    batch_size: int = 8
    """Pairs in one pass of one process."""
    accumulate: int = 1
    """Passes in one step of the optimizer."""
    rank: int = 8
    alpha: int = 16
    dropout: float = 0.05
    label_smoothing: float = 0.0
    """The probability of the other label in the target of the loss."""
    precision: Precision = "auto"
    gradient_checkpointing: bool = True
    negatives: int = 1
    """Negatives for each positive."""
    popular_negatives: float = 0.5
    """The share of negatives that are drawn by popularity; the others are uniform."""
    positives_per_user: int = 10
    """The latest liked items of each user that become examples."""
    recents: int = RECENTS
    picture: PictureSize = field(default_factory=lambda: PictureSize(224, 224, "contain"))
    pictures: bool = True
    evaluations: int = 5
    """How often in a run the validation users are scored, and a checkpoint is written."""
    patience: int = 2
    """The run ends after this many evaluations without a better AUC."""
    validation_users: int = 100
    validation_negatives: int = 10
    """Of each kind, uniform and popularity-drawn."""
    scoring_rows: int = 8
    neighbours: int = 128
    """Co-occurring items kept per item in the version's co-occurrence file."""
    keep_adapter: bool = False
    check_vllm: bool = True
    check_memory: bool = True

    def of_training(self) -> dict[str, Any]:
        """Those that the trained weights depend on, as JSON holds them."""
        return {name: value for name, value in asdict(self).items() if name not in _NOT_TRAINING}
