"""Run the evaluation of retrieval: fit the methods, let each find every target, and measure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from model_store.data.dataset import Dataset
from model_store.errors import UserError
from model_store.evaluate import metrics
from model_store.evaluate.baselines import EASE, ITEM_KNN, POPULARITY, fit_simple
from model_store.evaluate.item_vectors import learn_item_vectors
from model_store.evaluate.item_weights import learn_item_weights
from model_store.evaluate.likes import Likes
from model_store.evaluate.metrics import Counts, Floats, Interval, TargetRanks
from model_store.evaluate.protocol import liked_by
from model_store.evaluate.retrieval.cases import (
    RetrievalCase,
    RetrievalCases,
    RetrievalProtocol,
    make_retrieval_cases,
)
from model_store.evaluate.retrieval.methods import Embedded, Method, Random, Retrieved, Scored
from model_store.evaluate.retrieval.staged import Staged
from model_store.evaluate.retrieval.vector_files import ItemRows
from model_store.evaluate.retrieval.words import word_vectors
from model_store.evaluate.sequential import EPOCHS, fit_sequential
from model_store.item_models.item_models import ItemModels
from model_store.progress import Report
from model_store.retrieval.shares import SHARES, Shares

RANDOM, COOCCURRENCE, SASREC, WORDS = "random", "co-occurrence", "SASRec", "TF-IDF + SVD"
METHODS = (RANDOM, POPULARITY, COOCCURRENCE, ITEM_KNN, EASE, SASREC, WORDS)
ITEM_MODELS, ALL_STAGES = "item models", "all stages"
RECALL_AT, NDCG_AT = (10, 50, 100), (10, 100)
_SIZE = max(RECALL_AT)


@dataclass(frozen=True)
class RetrievalPlan:
    """What to evaluate.

    Attributes:
        methods: some of `METHODS`.
        vectors: of items, by the name that tables give them.
        reference: the method that the others are compared with, if it is evaluated.
        shares: those with which all stages are evaluated, by what tables add to the name.
    """

    protocol: RetrievalProtocol = field(default_factory=RetrievalProtocol)
    methods: Sequence[str] = METHODS
    vectors: Mapping[str, ItemRows] = field(default_factory=dict)
    epochs: int = EPOCHS
    reference: str = EASE
    shares: Mapping[str, Shares] = field(default_factory=lambda: {"": SHARES})


@dataclass(frozen=True, slots=True)
class RetrievalRow:
    """One method on the cases of one kind. `difference` is its recall@100 minus that of the reference, by user."""

    method: str
    recall: Mapping[int, Interval]
    ndcg: Mapping[int, Interval]
    difference: Interval | None


@dataclass(frozen=True, slots=True)
class RetrievalTable:
    """All methods on the `cases` cases of one kind, `warm` or `cold`."""

    kind: str
    cases: int
    rows: Sequence[RetrievalRow]


@dataclass(frozen=True, slots=True)
class RetrievalResults:
    """The tables and what they were measured on."""

    items: int
    hidden: int
    tables: Sequence[RetrievalTable]


def evaluate_retrieval(dataset: Dataset, plan: RetrievalPlan, report: Report) -> RetrievalResults:
    """Let every method find the targets of the same cases in the whole catalogue.

    Raises:
        UserError: the data has no cases, or a method can't be fitted.
    """
    drawn = make_retrieval_cases(dataset, plan.protocol)
    kinds = {"warm": drawn.warm, "cold": drawn.cold}
    ranks: dict[str, dict[str, TargetRanks]] = {kind: {} for kind in kinds}
    for name, method in _methods(drawn, plan, report):
        for kind, cases in kinds.items():
            ranks[kind][name] = target_ranks(method, cases, list(dataset.items), _progress(report, name, kind))
    tables = [_table(kind, kinds[kind], found, plan.reference) for kind, found in ranks.items() if kinds[kind]]
    return RetrievalResults(len(dataset.items), len(drawn.hidden), tables)


def target_ranks(
    method: Method, cases: Sequence[RetrievalCase], items: Sequence[str], progress: Callable[[float], None]
) -> TargetRanks:
    """The rank of each case's target among all items that its user has not seen. What is not found is in no list."""
    places = {item: place for place, item in enumerate(items)}
    rows = []
    for number, case in enumerate(cases, 1):
        rows.append(_rank(method(case), case, places))
        progress(number / len(cases))
    columns: Counts = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    return TargetRanks(*columns)


def _rank(scores: Floats, case: RetrievalCase, places: Mapping[str, int]) -> tuple[int, int, int]:
    """How many unseen items are above the target, tied with it, and in total."""
    if np.isnan(scores).any():
        raise ValueError(f"the case of {case.user_id} has a score that is not a number")
    own = scores[places[case.target]]
    others = np.ones(len(scores), dtype=bool)
    others[[places[item] for item in case.seen if item in places]] = False
    others[places[case.target]] = False
    total = int(others.sum())
    if own == -np.inf:
        return max(total, _SIZE), 0, total
    return int((scores[others] > own).sum()), int((scores[others] == own).sum()), total


def _methods(drawn: RetrievalCases, plan: RetrievalPlan, report: Report) -> Iterator[tuple[str, Method]]:
    """The methods, each fitted when it is its turn: EASE alone may need most of the memory."""
    visible, seed = drawn.visible, plan.protocol.seed
    items = list(visible.items)
    liked = list(liked_by(visible, "train"))
    likes = Likes(liked)
    if not likes.items:
        raise UserError("nothing can be learned: no training user liked an item")
    report("counting co-occurrence", 0.0, "")
    counts = likes.cooccurrence()
    report("counting co-occurrence", 1.0, f"{len(likes.items):,} items")
    words = {WORDS: word_vectors(visible, seed)} if WORDS in plan.methods else {}
    embedded: dict[str, Method] = {name: Embedded(rows) for name, rows in {**words, **plan.vectors}.items()}
    for name in plan.methods:
        if name == RANDOM:
            yield name, Random(items)
        elif name == COOCCURRENCE:
            yield name, Retrieved(lambda recents, seen: counts.retrieve(recents, seen, _SIZE), items)
        elif name == SASREC:
            yield name, Scored(fit_sequential(name, liked, epochs=plan.epochs, seed=seed, report=report), items)
        elif name != WORDS:
            report(f"fitting {name}", 0.0, "")
            yield name, Scored(fit_simple([name], likes)[name], items)
            report(f"fitting {name}", 1.0, "")
    yield from embedded.items()
    models = ItemModels(learn_item_weights(likes, report), learn_item_vectors(liked, report=report))
    yield ITEM_MODELS, Retrieved(lambda recents, seen: models.nearest(recents, _SIZE, seen), items)
    for label, stage in {"no embedding": None, **embedded}.items():
        for added, shares in plan.shares.items():
            staged = Staged(visible, counts, models, stage, size=_SIZE, seed=seed, shares=shares)
            yield f"{ALL_STAGES}, {label}{added}", staged


def _table(
    kind: str, cases: Sequence[RetrievalCase], ranks: Mapping[str, TargetRanks], reference: str
) -> RetrievalTable:
    base = metrics.hit_rate_at_k(ranks[reference], _SIZE) if reference in ranks else None
    rows = [
        RetrievalRow(
            method=name,
            recall={k: metrics.confidence(metrics.hit_rate_at_k(found, k)) for k in RECALL_AT},
            ndcg={k: metrics.confidence(metrics.ndcg_at_k(found, k)) for k in NDCG_AT},
            difference=_difference(found, base) if name != reference else None,
        )
        for name, found in ranks.items()
    ]
    return RetrievalTable(kind, len(cases), rows)


def _difference(ranks: TargetRanks, base: Floats | None) -> Interval | None:
    return None if base is None else metrics.paired_difference(metrics.hit_rate_at_k(ranks, _SIZE), base)


def _progress(report: Report, method: str, kind: str) -> Callable[[float], None]:
    return lambda done: report(f"{method}, {kind}", done, "")
