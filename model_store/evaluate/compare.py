"""Compares methods on the same cases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from model_store.evaluate import metrics
from model_store.evaluate.metrics import Interval, TargetRanks
from model_store.evaluate.protocol import EvaluationCase

Scores = Sequence[Sequence[float]]
"""Per case one score per candidate, in the case's order."""
K = 5


@dataclass(frozen=True, slots=True)
class Row:
    """One method's metrics, each 0..1 with its 95 % interval over users; hit rate, NDCG and MRR are at `K`."""

    auc: Interval
    hit_rate: Interval
    ndcg: Interval
    mrr: Interval


@dataclass(frozen=True, slots=True)
class Difference:
    """AUC of `method` minus AUC of `baseline` over the same users, -1..1, with its 95 % interval."""

    method: str
    baseline: str
    auc: Interval


@dataclass(frozen=True, slots=True)
class Table:
    """`rows` by method, all for the same `cases`."""

    rows: Mapping[str, Row]
    cases: int

    def summary(self) -> dict[str, dict[str, float]]:
        """Per method the metrics in percent, as in a manifest's `evaluation`."""
        return {method: _percent(row) for method, row in self.rows.items()}


def evaluate_scores(cases: Sequence[EvaluationCase], scores: Mapping[str, Scores]) -> Table:
    """Compare methods by name. Ties count as their mean over all orders (see `metrics`).

    Raises:
        ValueError: scores are missing for a case or are not numbers.
    """
    return Table({method: _row(target_ranks(cases, rows)) for method, rows in scores.items()}, len(cases))


def difference(cases: Sequence[EvaluationCase], scores: Mapping[str, Scores], method: str, baseline: str) -> Difference:
    """How much better `method` is than `baseline`, paired by user."""
    left, right = (metrics.auc(target_ranks(cases, scores[name])) for name in (method, baseline))
    return Difference(method, baseline, metrics.paired_difference(left, right))


def target_ranks(cases: Sequence[EvaluationCase], scores: Scores) -> TargetRanks:
    return metrics.rank_targets(scores, [case.target_position for case in cases])


def _row(ranks: TargetRanks) -> Row:
    at_k = (metric(ranks, K) for metric in (metrics.hit_rate_at_k, metrics.ndcg_at_k, metrics.mrr_at_k))
    return Row(*map(metrics.confidence, (metrics.auc(ranks), *at_k)))


def _percent(row: Row) -> dict[str, float]:
    means = {"auc": row.auc, f"hr_{K}": row.hit_rate, f"ndcg_{K}": row.ndcg, f"mrr_{K}": row.mrr}
    rounded = {name: round(100 * interval.mean, 2) for name, interval in means.items()}
    return rounded | {"auc_low": round(100 * row.auc.low, 2), "auc_high": round(100 * row.auc.high, 2)}
