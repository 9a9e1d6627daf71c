"""Refits the blend of a registered version: on the validation users of a dataset, or on logged answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from model_store.blend import FEATURES, Features, blend_features, logit
from model_store.cooccurrence import Cooccurrence, read_cooccurrence
from model_store.data.dataset import Dataset
from model_store.errors import UserError
from model_store.evaluate.answers import AnswerCache
from model_store.evaluate.blend import WEIGHTS, BlendCases, blend_auc, calibrate, fit_blend, fit_weights
from model_store.evaluate.blend_cases import make_boards, mixed_cases
from model_store.evaluate.condition import RECURRENT, Condition
from model_store.evaluate.item_models import learn_item_models
from model_store.evaluate.metrics import Floats
from model_store.evaluate.subject import Subject, ask
from model_store.item_models.item_models import ItemModels, ItemScores
from model_store.progress import Report
from model_store.registry.manifest import Blend

MIN_CASES = 100
"""Fewer logged choices give weights that are noise."""


class RefitError(UserError):
    """The data or the log can't tell what the weights should be; the message says what is missing."""


class Refitted(NamedTuple):
    """A blend, and what a manifest's `evaluation` says of it. `item_models`: those that the version
    did not have."""

    blend: Blend
    evaluation: dict[str, Any]
    item_models: ItemModels | None = None


@dataclass(frozen=True, slots=True)
class LoggedItem:
    """An item of an answer, in the order that was shown.

    Args:
        mllm: p(yes), 0..1; None if the model had no score.
        positive: whether the user chose it.
    """

    mllm: float | None
    collaborative: float
    popular: float
    near: ItemScores
    positive: bool

    @property
    def features(self) -> Features:
        odds = 0.0 if self.mllm is None else logit(self.mllm)
        return blend_features(odds, self.collaborative, self.popular, self.near)


async def refit_on_dataset(
    subject: Subject, dataset: Dataset, cache: AnswerCache, logs: Path, report: Report, *, count: int, seed: int
) -> Refitted:
    """Ask the version's servers for validation users, and fit. Item models that the version lacks are learned.

    Raises:
        RefitError: no validation user liked anything.
        UserError: a server does not start or stops answering.
    """
    registry = subject.registry
    path = registry.cooccurrence(subject.ranker)
    counts = read_cooccurrence(path) if path else Cooccurrence({}, {})
    mixed = mixed_cases(dataset, counts, seed, count=count)
    if not mixed:
        raise RefitError("no validation user of the data liked an item after a first event: there is nothing to fit")
    known = registry.item_models(subject.ranker)
    learned = learn_item_models(dataset, report, known=known)
    cases = {"validation": [one.case for one in mixed]}
    found = await ask(subject, dataset, cases, {"full": Condition(RECURRENT)}, cache, logs, report)
    scores = [[0.0 if p is None else logit(p) for p in row] for row in found.scores["validation"]["full"]]
    boards = make_boards(mixed, counts, known.filled(learned), scores)
    blend = fit_blend(boards)
    return Refitted(blend, {"validation_auc": blend_auc(blend, boards)}, learned)


def refit_on_log(answers: Sequence[Sequence[LoggedItem]]) -> Refitted:
    """Fit on what users chose of the answers that they were shown.

    The weights are those of a conditional logit of each chosen item among those of the same answer that were not. Users
    choose what is shown first, and the answer's order came from the blend itself: so the logarithm of the slot is
    another feature (Guo et al., PAL, RecSys 2019), whose weight is not kept. Only answers that were shuffled tell the
    two apart. Popularity gets no discount, because the log has the items that were shown and not all candidates.

    Raises:
        RefitError: too few answers have an item that was chosen and another, or no feature explains the choices.
    """
    rows, slots = [], []
    for shown in answers:
        rejected = [(place, item) for place, item in enumerate(shown, 1) if not item.positive]
        for place, item in enumerate(shown, 1):
            if item.positive and rejected:
                rows.append([item.features, *(other.features for _, other in rejected)])
                slots.append([place, *(other for other, _ in rejected)])
    if len(rows) < MIN_CASES:
        raise RefitError(
            f"the log has {len(rows)} items that users chose among others, and needs {MIN_CASES}: log for longer"
        )
    cases = BlendCases.of_features(rows, [0] * len(rows))
    columns = [WEIGHTS.index(name) for name in FEATURES]
    weights = fit_weights([cases], columns, extra=[_early(slots, cases)]).weights
    if not weights.any():
        raise RefitError("no feature of the log makes a choice more likely, so there is nothing to rank by: log longer")
    items = [item for shown in answers for item in shown]
    labels = np.array([float(item.positive) for item in items])
    odds = np.array([item.features for item in items]) @ weights[: len(FEATURES)]
    slope, bias = calibrate(odds, labels, np.ones(len(odds)))
    fitted = dict(zip(WEIGHTS, (slope * weights).tolist(), strict=True))
    return Refitted(Blend(bias=bias, **fitted), {"logged": {"answers": len(answers), "choices": len(rows)}})


def _early(slots: Sequence[Sequence[int]], cases: BlendCases) -> Floats:
    """Minus the logarithm of each candidate's slot, 0 for padding. Shape (cases, candidates)."""
    early = np.zeros(cases.present.shape)
    early[cases.present] = [-np.log(slot) for row in slots for slot in row]
    return early


def logged_items(features: Sequence[Mapping[str, float | None]], positive: Sequence[bool]) -> list[LoggedItem]:
    """Items from logged features by name; a missing one counts 0."""
    return [
        LoggedItem(
            one.get("mllm"),
            one.get("collaborative") or 0.0,
            one.get("popular") or 0.0,
            ItemScores.of(one),
            chosen,
        )
        for one, chosen in zip(features, positive, strict=True)
    ]
