"""Validation users: the AUC that chooses the checkpoint, one temperature, and the blend of the version."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit

from model_store.cooccurrence import Cooccurrence
from model_store.data.dataset import Dataset
from model_store.evaluate.blend import BlendCases, fit_blend
from model_store.evaluate.metrics import Floats, auc, rank_targets
from model_store.evaluate.protocol import EvaluationCase, Negatives, Protocol, make_cases
from model_store.evaluate.served import near
from model_store.item_models.item_models import ItemModels
from model_store.msr.finetune.catalogue import Catalogue
from model_store.msr.finetune.options import FinetuneOptions
from model_store.msr.finetune.rendering import Prompt, Renderer
from model_store.msr.finetune.trainer import AUC, Metrics
from model_store.registry.manifest import Blend
from model_store.views import ItemView, UserView

KINDS: tuple[Negatives, ...] = ("uniform", "popular")
_LOG_TEMPERATURES = (-4.0, 4.0)


@dataclass(frozen=True, slots=True)
class Validation:
    """The same users' last liked item, once among uniform and once among popularity-drawn negatives."""

    cases: dict[Negatives, list[EvaluationCase]]
    views: list[tuple[UserView, ItemView]]
    prompts: list[Prompt]
    """Of all candidates of all cases, in order."""

    @classmethod
    def draw(cls, dataset: Dataset, catalogue: Catalogue, renderer: Renderer, options: FinetuneOptions) -> "Validation":
        """
        Raises:
            ProtocolError: no validation user has a case.
        """
        cases = {
            kind: make_cases(
                dataset,
                Protocol(kind, "validation", options.validation_users, options.validation_negatives, seed=options.seed),
            )
            for kind in KINDS
        }
        views = []
        for case in (case for kind in KINDS for case in cases[kind]):
            met = [event.item_id for event in dataset.histories[case.user_id]]
            user = catalogue.user(case.user_id, met.index(case.target))
            views += [(user, catalogue.candidate(candidate)) for candidate in case.candidates]
        return cls(cases, views, [renderer(*view) for view in views])

    def measure(self, margins: Sequence[float]) -> Metrics:
        """AUC by kind and their mean, and the Brier score of the log-odds as they are; each 0..1."""
        rows = self._rows(margins)
        found: Metrics = {}
        for kind in KINDS:
            own, cases = rows[: len(self.cases[kind])], self.cases[kind]
            rows = rows[len(cases) :]
            ranks = rank_targets(own, [case.target_position for case in cases])
            found[f"{AUC}_{kind}"] = float(auc(ranks).mean())
        mean = sum(found.values()) / len(KINDS)
        return {AUC: mean, **found, "brier": brier(np.asarray(margins), self._labels())}

    def temperature(self, margins: Sequence[float]) -> float:
        """The temperature that makes p = sigmoid(log-odds / temperature) the most likely."""
        return fit_temperature(np.asarray(margins), self._labels())

    def brier(self, margins: Sequence[float], temperature: float) -> float:
        """The Brier score at a temperature, 0..1."""
        return brier(np.asarray(margins) / temperature, self._labels())

    def blend(self, margins: Sequence[float], cooccurrence: Cooccurrence, item_models: ItemModels) -> Blend:
        """The blend, whose weight of the MLLM contains the temperature: it scales the log-odds before all else."""
        rows, boards = self._rows(margins), {}
        for kind, cases in self.cases.items():
            boards[kind] = BlendCases.of(
                rows[: len(cases)],
                [cooccurrence.collaborative(near(case.history), case.candidates) for case in cases],
                [[cooccurrence.counts.get(candidate, 0) for candidate in case.candidates] for case in cases],
                [item_models.score(near(case.history), case.candidates) for case in cases],
                [case.target_position for case in cases],
            )
            rows = rows[len(cases) :]
        return fit_blend(boards)

    def _rows(self, margins: Sequence[float]) -> list[list[float]]:
        rows, start = [], 0
        for case in (case for kind in KINDS for case in self.cases[kind]):
            rows.append(list(margins[start : start + len(case.candidates)]))
            start += len(case.candidates)
        return rows

    def _labels(self) -> Floats:
        return np.array(
            [
                float(candidate == case.target)
                for kind in KINDS
                for case in self.cases[kind]
                for candidate in case.candidates
            ]
        )


def brier(log_odds: Floats, labels: Floats) -> float:
    """Mean squared error of p, both labels counting the same, as in training: a constant 1/2 has 0.25."""
    return float(np.average((expit(log_odds) - labels) ** 2, weights=_balanced(labels)))


def fit_temperature(log_odds: Floats, labels: Floats) -> float:
    """The temperature T > 0 that minimizes the cross-entropy of sigmoid(log_odds / T), both labels counting the same.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """
    weights, signs = _balanced(labels), 2 * labels - 1

    def loss(log_temperature: float) -> float:
        return float(np.average(-log_expit(signs * log_odds / np.exp(log_temperature)), weights=weights))

    return float(np.exp(minimize_scalar(loss, bounds=_LOG_TEMPERATURES, method="bounded").x))


def _balanced(labels: Floats) -> Floats:
    positive = labels.mean()
    return np.where(labels == 1, 1 / max(positive, 1e-9), 1 / max(1 - positive, 1e-9))
