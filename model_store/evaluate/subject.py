"""A ranker version with the summarizer that writes for it: what one evaluation asks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from model_store.data.dataset import Dataset
from model_store.errors import UserError
from model_store.evaluate.answers import AnswerCache
from model_store.evaluate.asking import Ranker, Summarizer
from model_store.evaluate.condition import Condition, Folding
from model_store.evaluate.protocol import EvaluationCase
from model_store.evaluate.server import ModelServer
from model_store.evaluate.soft_tokens import SoftTokens
from model_store.evaluate.views import DatasetViews
from model_store.progress import Report
from model_store.registry.manifest import Manifest
from model_store.registry.registry import Registry
from model_store.views import UserView

Cases = Sequence[EvaluationCase]
Asked = dict[str, dict[str, list[list[float | None]]]]
"""Per board and condition p(yes), 0..1, of each case's candidates; None without a score."""
_RANKER, _SUMMARIZER = "ranker", "summarizer"


@dataclass(frozen=True, slots=True)
class Subject:
    """Two versions of one store, and the URLs of their servers; a server without a URL is started here."""

    ranker: Manifest
    summarizer: Manifest
    registry: Registry
    ranker_url: str | None = None
    summarizer_url: str | None = None

    @classmethod
    def of(
        cls,
        version: str,
        summarizer: str | None,
        registry: Registry,
        *,
        ranker_url: str | None = None,
        summarizer_url: str | None = None,
    ) -> "Subject":
        """Look both up.

        Args:
            summarizer: None takes the one of the ranker's family, `NAME-summarizer` for `NAME-ranker`.

        Raises:
            ManifestError: a version does not exist, or its files were changed.
            UserError: a version has another role, or no summarizer was named and the family has none.
        """
        ranker = _with_role(registry.get(version), _RANKER)
        family = ranker.name.removesuffix(f"-{_RANKER}")
        if summarizer is None and not registry.versions(f"{family}-{_SUMMARIZER}"):
            raise UserError(f"{registry.root} has no {family}-{_SUMMARIZER}: name the one to use with --summarizer")
        writer = _with_role(registry.get(summarizer or f"{family}-{_SUMMARIZER}"), _SUMMARIZER)
        return cls(ranker, writer, registry, ranker_url, summarizer_url)


@dataclass(frozen=True, slots=True)
class Answers:
    """What the models of a subject answered.

    Attributes:
        unanswered: prompts of the summarizer without a usable answer, counted once for each condition.
        unscored: candidates without a score.
    """

    scores: Asked
    unanswered: int
    unscored: int


async def ask(
    subject: Subject,
    dataset: Dataset,
    boards: Mapping[str, Cases],
    conditions: Mapping[str, Condition],
    cache: AnswerCache,
    logs: Path,
    report: Report,
) -> Answers:
    """Ask for everything: first the summarizer, whose server is stopped before that of the ranker starts.

    Raises:
        UserError: a server does not start or stops answering.
    """
    views = DatasetViews(dataset)
    places = {_place(case): case for cases in boards.values() for case in cases}
    log = logs / f"{subject.summarizer.id}.log"
    async with ModelServer(subject.summarizer, subject.registry, subject.summarizer_url, log, report) as server:
        summarizer = Summarizer(server, cache, report)
        views.summaries = await summarizer.describe(views, _pictured(dataset, boards))
        summaries: dict[tuple[Folding, bool], dict[tuple[str, int], str]] = {}
        for condition in conditions.values():
            kind = _folded(condition)
            if kind is not None and kind not in summaries:
                histories = [condition.history(views.events(case.history)) for case in places.values()]
                texts = await summarizer.fold(histories, kind[0])
                summaries[kind] = dict(zip(places, texts, strict=True))
    scores: Asked = {}
    log = logs / f"{subject.ranker.id}.log"
    async with ModelServer(subject.ranker, subject.registry, subject.ranker_url, log, report) as server:
        ranker = Ranker(server, cache, report, _soft_tokens(subject))
        for board, cases in boards.items():
            scores[board] = {}
            for name, condition in conditions.items():
                kind = _folded(condition)
                written = summaries[kind] if kind else {}
                users = [UserView(written.get(_place(case), ""), views.events(case.history)) for case in cases]
                candidates = [case.candidates for case in cases]
                stage = f"{subject.ranker.id}, {board}: {name}"
                scores[board][name] = await ranker.score(users, candidates, views, condition, stage)
    return Answers(scores, summarizer.unanswered, ranker.unscored)


def _with_role(manifest: Manifest, role: str) -> Manifest:
    if manifest.role != role:
        raise UserError(f"{manifest.id} is {manifest.role_with_article}, not a {role}")
    return manifest


def _soft_tokens(subject: Subject) -> SoftTokens | None:
    """What encodes pictures for a ranker that can't see them."""
    if subject.ranker.picture_tokens is None:
        return None
    return SoftTokens(subject.registry.encoder_folder(subject.ranker))


def _folded(condition: Condition) -> tuple[Folding, bool] | None:
    """What a condition's summaries depend on, None if it shows none."""
    return None if condition.folding is None else (condition.folding, condition.item_summary)


def _place(case: EvaluationCase) -> tuple[str, int]:
    """A user's moment: boards that ask at the same one share its summary."""
    return case.user_id, case.events


def _pictured(dataset: Dataset, boards: Mapping[str, Cases]) -> list[str]:
    """The items with a picture and no summary in the data that a prompt may show."""
    shown: dict[str, None] = {}
    for cases in boards.values():
        for case in cases:
            shown |= dict.fromkeys(event.item_id for event in case.history)
            shown |= dict.fromkeys(case.candidates)
    items = (dataset.items[item_id] for item_id in shown if item_id in dataset.items)
    return [item.item_id for item in items if item.image is not None and not item.summary]
