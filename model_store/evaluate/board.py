"""Turns the scores of all methods on the same cases into the tables of one board."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from model_store.evaluate import metrics, results
from model_store.evaluate.calibration import calibration
from model_store.evaluate.compare import Scores, target_ranks
from model_store.evaluate.metrics import Floats, TargetRanks
from model_store.evaluate.protocol import EvaluationCase
from model_store.evaluate.results import Estimate
from model_store.evaluate.strata import strata

MIN_CASES = 20
"""The fewest cases of which a stratum's AUC is shown."""
FEW_CASES = 200
_CATALOGUE_KS = (10, 50)


@dataclass(frozen=True, slots=True)
class Method:
    """The scores of one method; `probabilities` says whether they are p(yes), which calibration can measure."""

    name: str
    kind: results.Kind
    scores: Scores
    probabilities: bool = False


@dataclass(frozen=True, slots=True)
class Ablation:
    """`without` is the method `of` without a part, called `name`."""

    of: Method
    name: str
    without: Scores


def method_result(cases: Sequence[EvaluationCase], method: Method, ks: Sequence[int]) -> results.MethodResult:
    ranks, targets = target_ranks(cases, method.scores), [case.target_position for case in cases]
    return results.MethodResult(
        name=method.name,
        kind=method.kind,
        auc=_estimate(metrics.auc(ranks)),
        pooled_auc=Estimate.of(metrics.pooled_auc(method.scores, targets)),
        hit_rate={k: _estimate(metrics.hit_rate_at_k(ranks, k)) for k in ks},
        ndcg={k: _estimate(metrics.ndcg_at_k(ranks, k)) for k in ks},
        mrr={k: _estimate(metrics.mrr_at_k(ranks, k)) for k in ks},
        calibration=_calibration(method.scores, targets) if method.probabilities else None,
    )


def difference(cases: Sequence[EvaluationCase], left: Method, right: Method) -> results.DifferenceResult:
    """How much better `left` is than `right`, paired by user."""
    interval = metrics.paired_difference(_auc(cases, left.scores), _auc(cases, right.scores))
    return results.DifferenceResult(method=left.name, baseline=right.name, auc=Estimate.of(interval))


def ablation_result(cases: Sequence[EvaluationCase], ablation: Ablation) -> results.AblationResult:
    without = _auc(cases, ablation.without)
    change = metrics.paired_difference(without, _auc(cases, ablation.of.scores))
    return results.AblationResult(
        of=ablation.of.name, name=ablation.name, auc=_estimate(without), difference=Estimate.of(change)
    )


def stratum_results(
    cases: Sequence[EvaluationCase], methods: Sequence[Method], likes: Mapping[str, int]
) -> list[results.StratumResult]:
    """AUC per stratum; those with fewer than `MIN_CASES` cases show only how many they have.

    Args:
        likes: how many training users liked an item.
    """
    aucs = {method.name: _auc(cases, method.scores) for method in methods}
    found = []
    for stratum in strata(cases, likes):
        count = int(stratum.cases.sum())
        shown = {name: _estimate(values[stratum.cases]) for name, values in aucs.items()} if count >= MIN_CASES else {}
        found.append(results.StratumResult(of=stratum.of, name=stratum.name, cases=count, auc=shown))
    return found


def catalogue_result(method: str, ranks: TargetRanks) -> results.CatalogueResult:
    """Metrics of `ranks` among the whole catalogue; recall of one target is its hit rate."""
    return results.CatalogueResult(
        method=method,
        items=int(ranks.negatives.max()) + 1,
        recall={k: _estimate(metrics.hit_rate_at_k(ranks, k)) for k in _CATALOGUE_KS},
        ndcg={k: _estimate(metrics.ndcg_at_k(ranks, k)) for k in _CATALOGUE_KS},
        mrr={k: _estimate(metrics.mrr_at_k(ranks, k)) for k in _CATALOGUE_KS},
    )


def spread(found: Sequence[results.Board]) -> list[results.SpreadResult]:
    """How the AUC of each method varies over the seeds of its protocol; nothing for one seed."""
    values: dict[tuple[str, str], list[float]] = {}
    for board in found:
        for method in board.methods:
            values.setdefault((board.protocol, method.name), []).append(method.auc.value)
    return [
        results.SpreadResult(protocol=protocol, method=method, mean=fmean(row), deviation=stdev(row), values=row)
        for (protocol, method), row in values.items()
        if len(row) > 1
    ]


def _calibration(scores: Scores, targets: Sequence[int]) -> results.CalibrationResult:
    found = calibration(scores, targets)
    return results.CalibrationResult(
        brier=Estimate.of(found.brier),
        brier_of_base_rate=found.brier_of_base_rate,
        ece=Estimate.of(found.ece),
        base_rate=found.base_rate,
        bins=[
            results.ReliabilityBin(predicted=one.predicted, observed=one.observed, candidates=one.candidates)
            for one in found.bins
        ],
    )


def _auc(cases: Sequence[EvaluationCase], scores: Scores) -> Floats:
    return metrics.auc(target_ranks(cases, scores))


def _estimate(values: Floats) -> Estimate:
    return Estimate.of(metrics.confidence(values))
