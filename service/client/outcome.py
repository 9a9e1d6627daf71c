"""The outcome of a replay: the service's rankings compared with baselines on the same cases, and its speed."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from model_store.data.dataset import Dataset
from model_store.evaluate.baselines import ITEM_KNN, POPULARITY, baseline_scores
from model_store.evaluate.compare import Difference, Scores, Table, difference, evaluate_scores
from model_store.evaluate.metrics import Latency
from model_store.evaluate.protocol import EvaluationCase, Protocol
from service.client.client import Json

SERVICE, MLLM, COLLABORATIVE = "Tastestream (blend)", "MLLM alone", "collaborative alone"
PAIRS = ((SERVICE, ITEM_KNN), (MLLM, POPULARITY), (SERVICE, COLLABORATIVE))


@dataclass(frozen=True, slots=True)
class Folding:
    """How fast events became summaries, from the first event posted to the last one folded.

    Attributes:
        summaries: summary versions that were written.
        without_summary: users who have no summary in the end.
    """

    events: int
    summaries: int
    seconds: float
    without_summary: int = 0

    @property
    def folds_per_s(self) -> float:
        """Summary versions written per second."""
        return self.summaries / self.seconds if self.seconds else 0.0

    @property
    def events_per_s(self) -> float:
        return self.events / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a replay measured.

    Attributes:
        degraded: answers without the model's scores, by reason. There should be none.
        undescribed: pictures without a description, which the prompts lacked.
    """

    data: str
    run_id: str
    protocol: Protocol
    models: tuple[str, ...]
    table: Table
    differences: tuple[Difference, ...]
    degraded: dict[str, int]
    folding: Folding
    event_latency: Latency
    recommend_latency: Latency
    items_loaded: int
    undescribed: int

    @property
    def degraded_share(self) -> float:
        return sum(self.degraded.values()) / self.table.cases


@dataclass(frozen=True, slots=True)
class Ranked:
    """All methods on the same cases."""

    table: Table
    differences: tuple[Difference, ...]


def rank_methods(dataset: Dataset, cases: Sequence[EvaluationCase], answers: Sequence[Json]) -> Ranked:
    """Compare the service's answers to `cases`, requested with `explain`, with the baselines."""
    scores: dict[str, Scores] = {
        SERVICE: _column(cases, answers, lambda item: -item["rank"]),
        MLLM: _column(cases, answers, lambda item: item["components"]["mllm"]),
        COLLABORATIVE: _column(cases, answers, lambda item: item["components"]["collaborative"]),
        **baseline_scores(dataset, cases),
    }
    differences = tuple(difference(cases, scores, method, baseline) for method, baseline in PAIRS)
    return Ranked(evaluate_scores(cases, scores), differences)


def models_of(answers: Sequence[Json]) -> tuple[str, ...]:
    return tuple(sorted({answer["model"] for answer in answers if answer["model"]}))


def degraded_reasons(answers: Sequence[Json]) -> dict[str, int]:
    return dict(Counter(str(answer["degraded_reason"]) for answer in answers if answer["degraded"]))


def _column(
    cases: Sequence[EvaluationCase], answers: Sequence[Json], value: Callable[[Json], float | None]
) -> list[list[float]]:
    """One kind of score in the order of the cases. A case in which a score is missing counts as a tie."""
    rows: list[list[float]] = []
    for case, answer in zip(cases, answers, strict=True):
        by_id = {item["item_id"]: value(item) for item in answer["items"]}
        row = [by_id[candidate] for candidate in case.candidates]
        known = [score for score in row if score is not None]
        rows.append(known if len(known) == len(row) else [0.0] * len(row))
    return rows
