"""Answers the evaluation with a model in this process: folds the histories, then ranks the candidates."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from model_store.data.dataset import Interaction
from model_store.evaluate.protocol import EvaluationCase
from model_store.msr.scratch.catalogue import Candidates, Catalogue
from model_store.msr.scratch.generator import Generator
from model_store.views import InteractionView, ItemView, UserView

_AT_ONCE = 64
"""Users ranked between two reports of the progress."""


class CaseScorer(Protocol):
    """A model in this process that answers cases."""

    def summaries(self, cases: Sequence[EvaluationCase], progress: Callable[[float], None]) -> list[str]:
        """The summary of each case's history; `progress` gets the share done, 0..1."""

    def score(
        self, cases: Sequence[EvaluationCase], summaries: Sequence[str], *, progress: Callable[[float], None]
    ) -> list[list[float]]:
        """logit(yes) - logit(no) of each case's candidates; `progress` gets the share done, 0..1."""


@dataclass(frozen=True, slots=True)
class OfflineScorer:
    """A model and its catalogue; `descriptions` has the summary of each item, by the model or the dataset."""

    generator: Generator
    catalogue: Catalogue
    descriptions: Sequence[str]

    def summaries(self, cases: Sequence[EvaluationCase], progress: Callable[[float], None]) -> list[str]:
        """The model's summary of each case's history, folded from an empty one; `progress` as for `Generator.fold`."""
        return self.generator.fold([self.events(case.history) for case in cases], progress)

    def score(
        self,
        cases: Sequence[EvaluationCase],
        summaries: Sequence[str],
        *,
        picture: bool = True,
        words: bool = True,
        progress: Callable[[float], None] = lambda done: None,
    ) -> list[list[float]]:
        """logit(yes) - logit(no) of each case's candidates, shown with or without picture and words."""
        encoder = self.generator.encoder
        candidates = Candidates(self.catalogue, encoder)
        users = [
            encoder.rank_user(UserView(summary, tuple(self.events(case.history))))
            for case, summary in zip(cases, summaries, strict=True)
        ]
        shown = [
            [candidates.segment(self.catalogue.number[c], picture, words) for c in case.candidates] for case in cases
        ]
        found: list[list[float]] = []
        for start in range(0, len(users), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            found += self.generator.rank(users[some], shown[some])
            progress(len(found) / len(users))
        return found

    def events(self, history: Sequence[Interaction]) -> list[InteractionView]:
        """A history as the service shows it to the model."""
        return [InteractionView(event.type, self._item(event.item_id), event.value) for event in history]

    def _item(self, item_id: str) -> ItemView | None:
        number = self.catalogue.number.get(item_id)
        if number is None:
            return None
        view = self.catalogue.views[number]
        return replace(view, summary=self.descriptions[number] if view.image else "")


def describe_all(generator: Generator, catalogue: Catalogue) -> list[str]:
    """The item summary that the model writes for each item with a picture, "" for the others."""
    pictures = [row for row in catalogue.picture if row >= 0]
    written = iter(generator.describe([view for view in catalogue.views if view.image is not None], pictures))
    return ["" if row < 0 else next(written) for row in catalogue.picture]
