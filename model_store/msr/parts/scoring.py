"""Scores evaluation cases in this process: one packed prompt per user, whose suffixes are the candidates."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from model_store.data.dataset import Interaction
from model_store.evaluate.metrics import auc, rank_targets
from model_store.evaluate.protocol import EvaluationCase
from model_store.msr.parts.encoding import SoftTokenEncoder
from model_store.msr.scratch.catalogue import Candidates, Catalogue
from model_store.msr.scratch.packing import PackedPrompt, Segment
from model_store.msr.teacher import RuleBasedTeacher, TermFinder
from model_store.views import InteractionView, UserView

BLOCK = 3
"""Events in one fold, the default of the service."""
_AT_ONCE = 8
Ask = Callable[[Sequence[PackedPrompt]], list[list[float]]]
"""Log-odds of yes for each prompt's suffixes."""


@dataclass(frozen=True, slots=True)
class PackedScorer:
    """A model, its catalogue, and the rule-based teacher, who writes the summaries."""

    ask: Ask
    catalogue: Catalogue
    encoder: SoftTokenEncoder
    teacher: RuleBasedTeacher
    terms: TermFinder

    def asking(self, ask: Ask) -> "PackedScorer":
        """The same cases for another model."""
        return replace(self, ask=ask)

    def candidates(self) -> Candidates:
        """Encodes the catalogue's items as candidates."""
        return Candidates(self.catalogue, self.encoder)

    def summaries(self, cases: Sequence[EvaluationCase], progress: Callable[[float], None]) -> list[str]:
        """The teacher's summary of each case's history, folded block by block; `progress` gets the share done, 0..1."""
        written = []
        for number, case in enumerate(cases, 1):
            written.append(self._summary([self._event(event) for event in case.history]))
            progress(number / len(cases))
        return written

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
        candidates = self.candidates()
        prompts = []
        for case, summary in zip(cases, summaries, strict=True):
            user = UserView(summary, tuple(self._event(event) for event in case.history))
            numbers = [self.catalogue.number[item] for item in case.candidates]
            suffixes = tuple(candidates.segment(number, picture, words) for number in numbers)
            prompts.append(PackedPrompt(Segment(self.encoder.rank_user(user)), suffixes, (0.0,) * len(suffixes)))
        order = sorted(range(len(prompts)), key=lambda number: prompts[number].length)
        found: list[list[float]] = [[] for _ in prompts]
        for start in range(0, len(order), _AT_ONCE):
            some = order[start : start + _AT_ONCE]
            for number, odds in zip(some, self.ask([prompts[n] for n in some]), strict=True):
                found[number] = odds
            progress(min(1.0, (start + _AT_ONCE) / len(order)))
        return found

    def _summary(self, events: Sequence[InteractionView]) -> str:
        text = ""
        for start in range(0, len(events), BLOCK):
            text = self.teacher.fold(text, events[start : start + BLOCK], self.terms)
        return text

    def _event(self, event: Interaction) -> InteractionView:
        number = self.catalogue.number.get(event.item_id)
        return InteractionView(event.type, None if number is None else self.catalogue.views[number], event.value)


def mean_auc(odds: Sequence[Sequence[float]], cases: Sequence[EvaluationCase]) -> float:
    """Mean AUC over cases, 0..1."""
    return float(auc(rank_targets(odds, [case.target_position for case in cases])).mean())
