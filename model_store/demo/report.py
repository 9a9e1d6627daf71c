"""Evaluates the demo model on users who are not used in training."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from model_store.data.dataset import Dataset
from model_store.demo.outside import Outside, measure_outside, repeats
from model_store.demo.truth import Truth, stated
from model_store.demo.world import Taste
from model_store.evaluate.baselines import POPULARITY, Popularity
from model_store.evaluate.compare import Table, evaluate_scores
from model_store.evaluate.likes import Likes
from model_store.evaluate.metrics import Interval, confidence
from model_store.evaluate.protocol import EvaluationCase, Protocol, liked_by, make_cases
from model_store.msr.scratch.catalogue import Catalogue
from model_store.msr.scratch.generator import BLOCK
from model_store.msr.scratch.publish import Trained
from model_store.msr.scratch.scoring import OfflineScorer, describe_all
from model_store.msr.teacher import RuleBasedTeacher, TermFinder
from model_store.progress import Report

ORACLE, MODEL, NO_PICTURES, NO_WORDS = "oracle", "model", "model without pictures", "model without words"
RULE_SUMMARY = "model with the rule's summaries"
PROTOCOL = Protocol(negatives="uniform")


@dataclass(frozen=True, slots=True)
class Quality:
    """Precision and recall of stated likes, with confidence intervals over users."""

    precision: Interval
    recall: Interval


@dataclass(frozen=True, slots=True)
class DemoReport:
    """All rows of `table` are for the same cases."""

    protocol: str
    table: Table
    gap_closed: float
    """The model's share of the AUC gap between popularity and the oracle."""
    summaries: Quality
    rule_summaries: Quality
    described: float
    """The share of the catalogue's pictures whose description is exactly their caption."""
    described_unseen: float
    """The same for pictures that are not used in training."""
    repeating: float
    """The share of the summaries that state a term twice."""
    outside: Outside
    warning: str
    """A known problem of the training."""

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
            f"likes stated by the model's summaries: {_shown(self.summaries)}",
            f"likes stated by the teacher's summaries: {_shown(self.rule_summaries)}",
            f"described exactly: {_percent(self.described)} %, unseen pictures {_percent(self.described_unseen)} %",
            f"summaries that state a term twice: {_percent(self.repeating)} %",
            f"blocks from outside the world: {_percent(self.outside.repeating)} % state a term twice, "
            f"{_percent(self.outside.reciting)} % recite words of the world; liked genres stated "
            f"{_percent(self.outside.recall)} %, stated terms that were there {_percent(self.outside.precision)} %",
        ]
        return "\n".join(lines)


def report(trained: Trained, dataset: Dataset, truth: Truth, unseen: Dataset, progress: Report) -> DemoReport:
    """Evaluate on the test users of `dataset`; `unseen` is a catalogue drawn from another seed."""
    cases = make_cases(dataset, PROTOCOL)
    generator, catalogue = trained.generator(), trained.catalogue
    progress("describing", 0, "")
    descriptions = describe_all(generator, catalogue)
    scorer = OfflineScorer(generator, catalogue, descriptions)
    written = scorer.summaries(cases, lambda done: progress("summarizing", done, ""))
    taught = rule_summaries(scorer, cases)
    progress("ranking", 0, "")
    popularity = Popularity(Likes(liked_by(dataset, "train")))
    scores = {
        ORACLE: truth.oracle(dataset, cases),
        MODEL: scorer.score(cases, written),
        RULE_SUMMARY: scorer.score(cases, taught),
        NO_PICTURES: scorer.score(cases, written, picture=False),
        NO_WORDS: scorer.score(cases, written, words=False),
        POPULARITY: [popularity.score(case.recents, case.candidates) for case in cases],
    }
    table = evaluate_scores(cases, scores)
    auc = {method: row.auc.mean for method, row in table.rows.items()}
    tastes = [truth.taste(dataset, case) for case in cases]
    unseen_catalogue = Catalogue(unseen, trained.sizes.picture)
    unseen_descriptions = describe_all(trained.generator(unseen_catalogue), unseen_catalogue)
    return DemoReport(
        protocol=str(PROTOCOL),
        table=table,
        gap_closed=(auc[MODEL] - auc[POPULARITY]) / (auc[ORACLE] - auc[POPULARITY]),
        summaries=_quality(written, tastes),
        rule_summaries=_quality(taught, tastes),
        described=_exact(descriptions, catalogue),
        described_unseen=_exact(unseen_descriptions, unseen_catalogue),
        repeating=fmean(repeats(summary) for summary in written),
        outside=measure_outside(generator, TermFinder.learn(catalogue.views)),
        warning=trained.warning,
    )


def rule_summaries(scorer: OfflineScorer, cases: Sequence[EvaluationCase]) -> list[str]:
    """The teacher's summaries, from the same item summaries."""
    teacher, terms = RuleBasedTeacher(), TermFinder.learn(scorer.catalogue.views)
    texts = []
    for case in cases:
        summary, events = "", scorer.events(case.history)
        for start in range(0, len(events), BLOCK):
            summary = teacher.fold(summary, events[start : start + BLOCK], terms)
        texts.append(summary)
    return texts


def _quality(summaries: Sequence[str], tastes: Sequence[Taste]) -> Quality:
    found = [stated(summary, taste) for summary, taste in zip(summaries, tastes, strict=True)]
    precision, recall = (np.array([getattr(one, name) for one in found]) for name in ("precision", "recall"))
    return Quality(confidence(precision), confidence(recall))


def _exact(written: Sequence[str], catalogue: Catalogue) -> float:
    return fmean(text == caption for text, caption in zip(written, catalogue.captions, strict=True))


def _percent(share: float) -> float:
    return round(100 * share, 1)


def _shown(quality: Quality) -> str:
    return f"precision {100 * quality.precision.mean:.1f} %, recall {100 * quality.recall.mean:.1f} %"
