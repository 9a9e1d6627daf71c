"""Asks a model in this process the questions of an evaluation: fold the history, then rank the candidates."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from model_store.data.dataset import Interaction
from model_store.evaluate.protocol import EvaluationCase
from model_store.msr.scratch.catalogue import Candidates, Catalogue
from model_store.msr.scratch.generator import Writer
from model_store.views import InteractionView, UserView

Tick = Callable[[int, int], None]
"""Hears (done, total)."""


@dataclass(frozen=True, slots=True)
class Examiner:
    """A model and the catalogue it is asked about.

    `recalled` is the item summary of each item, as the model or the dataset tells it.
    """

    writer: Writer
    catalogue: Catalogue
    recalled: Sequence[str]

    def summaries(self, cases: Sequence[EvaluationCase], tick: Tick = lambda done, total: None) -> list[str]:
        """The model's own summary of each case's history, folded from nothing."""
        return self.writer.fold([self.events(case.history) for case in cases], each=tick)

    def score(
        self, cases: Sequence[EvaluationCase], summaries: Sequence[str], *, picture: bool = True, words: bool = True
    ) -> list[list[float]]:
        """logit(yes) - logit(no) of each case's candidates, shown with or without picture and words."""
        encoder = self.writer.encoder
        candidates = Candidates(self.catalogue, encoder)
        users = [
            encoder.rank_user(UserView(summary, tuple(self.events(case.history))))
            for case, summary in zip(cases, summaries, strict=True)
        ]
        shown = [
            [candidates.segment(self.catalogue.number[c], picture, words) for c in case.candidates] for case in cases
        ]
        return self.writer.rank(users, shown)

    def events(self, history: Sequence[Interaction]) -> list[InteractionView]:
        """A history as the service shows it to the model."""
        return [self._event(event) for event in history]

    def _event(self, event: Interaction) -> InteractionView:
        number = self.catalogue.number.get(event.item_id)
        if number is None:
            return InteractionView(event.type, None, event.value)
        view = self.catalogue.views[number]
        item = replace(view, summary=self.recalled[number] if view.image else "")
        return InteractionView(event.type, item, event.value)


def describe_all(writer: Writer, catalogue: Catalogue) -> list[str]:
    """The item summary that the model writes for each item with a picture, "" for the others."""
    shown = [number for number, view in enumerate(catalogue.views) if view.image is not None]
    pictures = [catalogue.picture[number] for number in shown]
    texts = [""] * len(catalogue.ids)
    for number, text in zip(shown, writer.describe([catalogue.views[n] for n in shown], pictures), strict=True):
        texts[number] = text
    return texts
