"""What the demo model can do, measured on users whom its training has not seen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from model_store.data.dataset import Dataset
from model_store.demo.outside import Outside, measure_outside, repeats
from model_store.demo.truth import Stated, Truth, stated
from model_store.demo.world import Taste
from model_store.evaluate.baselines import POPULARITY, baseline_scores
from model_store.evaluate.compare import Table, evaluate_scores
from model_store.evaluate.metrics import Interval, confidence
from model_store.evaluate.protocol import EvaluationCase, Protocol, make_cases
from model_store.msr.scratch.catalogue import Catalogue
from model_store.msr.scratch.publish import Trained
from model_store.msr.scratch.scoring import Examiner, describe_all
from model_store.msr.teacher import TasteRule, TermFinder

ORACLE, MODEL, NO_PICTURES, NO_WORDS = "oracle", "model", "model without pictures", "model without words"
RULE_SUMMARY = "model with the rule's summaries"
PROTOCOL = Protocol(negatives="uniform")
Tell = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Quality:
    """Precision and recall of stated likes, with confidence intervals over users."""

    precision: Interval
    recall: Interval


@dataclass(frozen=True, slots=True)
class DemoReport:
    """All rows of `table` answer the same cases."""

    protocol: str
    table: Table
    gap_closed: float
    """The model's share of the way from popularity to the oracle."""
    summaries: Quality
    rule_summaries: Quality
    described: float
    """The share of the catalogue's pictures that are described exactly as their captions."""
    described_unseen: float
    """The same for pictures that no training step has seen."""
    repeating: float
    """The share of the summaries that state a term twice."""
    outside: Outside
    """How blocks of items from outside the world are answered."""
    warning: str = ""
    """What is wrong with the training."""

    def summary(self) -> dict[str, Any]:
        """The report as a manifest's `evaluation`, in percent."""
        return {
            "protocol": self.protocol,
            "cases": self.table.cases,
            "gap_closed": _percent(self.gap_closed),
            "described": _percent(self.described),
            "described_unseen": _percent(self.described_unseen),
            "summary_precision": _percent(self.summaries.precision.mean),
            "summary_recall": _percent(self.summaries.recall.mean),
            "rule_summary_precision": _percent(self.rule_summaries.precision.mean),
            "rule_summary_recall": _percent(self.rule_summaries.recall.mean),
            "summary_repeating": _percent(self.repeating),
            "outside": {
                "folds": self.outside.folds,
                "repeating": _percent(self.outside.repeating),
                "reciting": _percent(self.outside.reciting),
                "genre_recall": _percent(self.outside.recall),
                "term_precision": _percent(self.outside.precision),
            },
            "methods": self.table.summary(),
        }

    def __str__(self) -> str:
        lines = [f"{self.protocol}: {self.table.cases} users", "", f"{'':34}{'AUC':>6}  {'95 % interval':>13}  HR@5"]
        for method, row in self.table.rows.items():
            low, high = 100 * row.auc.low, 100 * row.auc.high
            lines.append(
                f"{method:34}{100 * row.auc.mean:6.1f}   {low:5.1f}..{high:5.1f}  {100 * row.hit_rate.mean:5.1f}"
            )
        lines += [
            "",
            f"gap between popularity and oracle closed: {100 * self.gap_closed:.0f} %",
            f"likes stated by the model's summaries: {_told(self.summaries)}",
            f"likes stated by the rule's summaries:  {_told(self.rule_summaries)}",
            f"described exactly: {_percent(self.described)} %, unseen pictures {_percent(self.described_unseen)} %",
            f"summaries that state a term twice: {_percent(self.repeating)} %",
            f"blocks from outside the world: {_percent(self.outside.repeating)} % state a term twice, "
            f"{_percent(self.outside.reciting)} % recite words of the world; liked genres stated "
            f"{_percent(self.outside.recall)} %, stated terms that were there {_percent(self.outside.precision)} %",
        ]
        return "\n".join(lines)


def report(trained: Trained, dataset: Dataset, truth: Truth, unseen: Dataset, tell: Tell) -> DemoReport:
    """Evaluate on the test users of `dataset`; `unseen` is a catalogue drawn from another seed."""
    cases = make_cases(dataset, PROTOCOL)
    writer, catalogue = trained.writer(), trained.catalogue
    tell("describing", 0)
    recalled = describe_all(writer, catalogue)
    examiner = Examiner(writer, catalogue, recalled)
    written = examiner.summaries(cases, lambda done, total: tell("summarizing", done / total))
    ruled = rule_summaries(examiner, cases)
    tell("ranking", 0)
    scores = {
        ORACLE: truth.oracle(dataset, cases),
        MODEL: examiner.score(cases, written),
        RULE_SUMMARY: examiner.score(cases, ruled),
        NO_PICTURES: examiner.score(cases, written, picture=False),
        NO_WORDS: examiner.score(cases, written, words=False),
        POPULARITY: baseline_scores(dataset, cases)[POPULARITY],
    }
    table = evaluate_scores(cases, scores)
    auc = {method: row.auc.mean for method, row in table.rows.items()}
    tastes = [truth.taste(dataset, case) for case in cases]
    fresh = Catalogue(unseen, trained.sizes.picture)
    return DemoReport(
        protocol=str(PROTOCOL),
        table=table,
        gap_closed=(auc[MODEL] - auc[POPULARITY]) / (auc[ORACLE] - auc[POPULARITY]),
        summaries=_quality(written, tastes),
        rule_summaries=_quality(ruled, tastes),
        described=_exact(recalled, catalogue),
        described_unseen=_exact(describe_all(trained.writer_of(fresh), fresh), fresh),
        repeating=fmean(repeats(summary) for summary in written),
        outside=measure_outside(writer, TermFinder.learn(catalogue.views)),
        warning=trained.warning,
    )


def rule_summaries(examiner: Examiner, cases: Sequence[EvaluationCase], block_size: int = 3) -> list[str]:
    """What the training rule itself would write, from the same item summaries."""
    catalogue = examiner.catalogue
    rule, terms = TasteRule(), TermFinder.learn(catalogue.views)
    texts = []
    for case in cases:
        summary, events = "", examiner.events(case.history)
        for start in range(0, len(events), block_size):
            summary = rule.fold(summary, events[start : start + block_size], terms)
        texts.append(summary)
    return texts


def _quality(summaries: Sequence[str], tastes: Sequence[Taste]) -> Quality:
    found: list[Stated] = [stated(summary, taste) for summary, taste in zip(summaries, tastes, strict=True)]
    return Quality(
        confidence(np.array([one.precision for one in found])), confidence(np.array([one.recall for one in found]))
    )


def _exact(written: Sequence[str], catalogue: Catalogue) -> float:
    return fmean(text == caption for text, caption in zip(written, catalogue.captions, strict=True))


def _percent(share: float) -> float:
    return round(100 * share, 1)


def _told(quality: Quality) -> str:
    return f"precision {100 * quality.precision.mean:.1f} %, recall {100 * quality.recall.mean:.1f} %"
