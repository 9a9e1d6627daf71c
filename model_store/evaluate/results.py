"""What an evaluation found, as `report.json` stores it."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from model_store.evaluate.metrics import Interval
from model_store.signals import StrictModel

Kind = Literal["service", "part", "baseline", "input", "version"]
"""`service`: the blend, as the service ranks. `part`: one of its parts. `input`: the same ranker, shown other things.
`version`: another model version."""


class Estimate(StrictModel):
    """A mean over users with its 95 % bootstrap interval; shares and probabilities are 0..1."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, interval: Interval) -> "Estimate":
        return cls(value=interval.mean, low=interval.low, high=interval.high)


class ReliabilityBin(StrictModel):
    predicted: float
    observed: float
    candidates: int


class CalibrationResult(StrictModel):
    """See `calibration.Calibration`."""

    brier: Estimate
    brier_of_base_rate: float
    ece: Estimate
    base_rate: float
    bins: list[ReliabilityBin]


class MethodResult(StrictModel):
    """One method on all cases of a board.

    Attributes:
        auc: the mean over users of the share of negatives below the target; ties count one half.
        pooled_auc: AUC over the candidates of all users together.
        hit_rate, ndcg, mrr: by k.
        calibration: of methods that give probabilities.
    """

    name: str
    kind: Kind
    auc: Estimate
    pooled_auc: Estimate
    hit_rate: dict[int, Estimate]
    ndcg: dict[int, Estimate]
    mrr: dict[int, Estimate]
    calibration: CalibrationResult | None = None


class DifferenceResult(StrictModel):
    """AUC of `method` minus that of `baseline` for the same users."""

    method: str
    baseline: str
    auc: Estimate


class StratumResult(StrictModel):
    """AUC of some methods on a kind of cases, which `of` and `name` describe."""

    of: str
    name: str
    cases: int
    auc: dict[str, Estimate]


class CatalogueResult(StrictModel):
    """A method that ranks the target among all items that the user does not know; metrics by k."""

    method: str
    items: int
    recall: dict[int, Estimate]
    ndcg: dict[int, Estimate]
    mrr: dict[int, Estimate]


class AblationResult(StrictModel):
    """A method without one of its parts, and its AUC minus that with all of them, paired by user."""

    of: str
    name: str
    auc: Estimate
    difference: Estimate


class Board(StrictModel):
    """All methods on the same cases.

    Attributes:
        protocol: its name; `description` says how cases are drawn, `seed` which.
        warnings: what makes the figures misleading.
    """

    protocol: str
    seed: int
    description: str
    cases: int
    candidates: int
    methods: list[MethodResult]
    differences: list[DifferenceResult]
    strata: list[StratumResult]
    catalogue: list[CatalogueResult] = Field(default_factory=list)
    ablations: list[AblationResult] = Field(default_factory=list)
    warnings: list[str] = Field(default_factory=list)


class SpreadResult(StrictModel):
    """AUC per user of a method over the seeds: mean, and standard deviation with n - 1."""

    protocol: str
    method: str
    mean: float
    deviation: float
    values: list[float]


class DataFacts(StrictModel):
    """The data set; `sha256` is over its items and interactions."""

    name: str
    sha256: str
    items: int
    pictures: int
    users: int
    interactions: int


class Evaluation(StrictModel):
    """One run of `tastestream evaluate`. `format` changes when a reader of older files would misread newer ones.

    Attributes:
        unanswered: prompts of the summarizer without a usable answer, with repetitions.
        unscored: candidates that the ranker's server rejected, which count as p = 1/2.
    """

    format: Literal[1] = 1
    version: str
    summarizer: str
    against: list[str]
    data: DataFacts
    folding: str
    history: int
    seeds: list[int]
    created: datetime
    command: str
    seconds: float
    software: dict[str, str]
    training: dict[str, str]
    boards: list[Board]
    spread: list[SpreadResult] = Field(default_factory=list)
    unanswered: int = 0
    unscored: int = 0

    @property
    def first(self) -> list[Board]:
        """The boards of the first seed."""
        return [board for board in self.boards if board.seed == self.seeds[0]]
