"""Training examples of the three jobs, drawn from the histories of the training users."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from statistics import fmean

from model_store.data.dataset import DatasetError, Interaction
from model_store.data.negatives import Negatives
from model_store.msr.scratch.catalogue import Candidates, Catalogue
from model_store.msr.scratch.foreign import ForeignItems
from model_store.msr.scratch.packing import PackedPrompt, Segment
from model_store.msr.scratch.prompt_encoder import PromptEncoder
from model_store.msr.teacher import RuleBasedTeacher, Summary, TermFinder, parse, render
from model_store.views import InteractionView, ItemView, UserView

_TRIES = 1000


@dataclass(frozen=True, slots=True)
class ExampleOptions:
    """How examples are drawn. Shares and probabilities are in 0..1, lengths in events unless they say tokens."""

    candidates: int = 12
    positives: int = 5
    horizon: int = 24
    """Positives are the next liked items among this many following events that the user had not met before: those are
    in the prompt, and would be recognized."""
    memory: int = 60
    """Events before the cut that are folded into a summary."""
    catch_up: int = 12
    """Events in the longest block."""
    lag: int = 3
    """The summary lacks up to this many of the last events."""
    popular_negatives: float = 0.6
    drop_picture: float = 0.1
    drop_words: float = 0.1
    undescribed: float = 0.05
    misdescribed: float = 0.03
    noise: float = 0.3
    """The probability that a summary has mistakes that a model could have made."""
    questions: int = 16
    """Single terms in one matching example, which also has a fourth as many single pictures."""
    max_tokens: int = 512
    """Examples are kept within this length."""
    foreign: float = 0.0
    """The share of summaries and matchings about items from outside the catalogue."""


@dataclass(frozen=True, slots=True)
class Fold:
    """One recurrent step: old summary, block, new summary."""

    old: str
    block: tuple[InteractionView, ...]
    new: str


class Examples:
    """Draws examples; all randomness comes from the `rng` of each call.

    Args:
        terms: must know the names of the foreign items.
        foreign: the items for the share `options.foreign`.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        histories: Sequence[Sequence[Interaction]],
        encoder: PromptEncoder,
        teacher: RuleBasedTeacher,
        terms: TermFinder,
        options: ExampleOptions,
        foreign: ForeignItems | None = None,
    ) -> None:
        self.catalogue, self.histories, self.encoder = catalogue, histories, encoder
        self.teacher, self.terms, self.options, self.foreign = teacher, terms, options, foreign
        self._candidates = Candidates(catalogue, encoder)
        liked = Counter(event.item_id for history in histories for event in history if event.liked)
        likes = {number: liked[item_id] for number, item_id in enumerate(catalogue.ids)}
        self._negatives = Negatives(likes, options.popular_negatives)
        pairs = enumerate(zip(catalogue.views, catalogue.captions, strict=True))
        self.described = [number for number, (view, caption) in pairs if caption and view.image is not None]
        self._descriptions: dict[int, PackedPrompt] = {}
        self._vocabulary = sorted({term for view in catalogue.views for term in terms.of(view)})

    @property
    def can_describe(self) -> bool:
        return bool(self.described)

    def describe(self, rng: random.Random) -> PackedPrompt:
        """Picture and title -> caption, of a random item that has both picture and caption."""
        number = rng.choice(self.described)
        if number not in self._descriptions:
            answer = self.encoder.answer(self.catalogue.captions[number])
            ids = self.encoder.describe(self.catalogue.views[number]) + answer
            prefix = Segment(ids, (self.catalogue.picture[number],), len(answer))
            self._descriptions[number] = PackedPrompt(prefix, job="describe")
        return self._descriptions[number]

    def require_ranking(self, seed: int) -> None:
        """
        Raises:
            DatasetError: there is nothing to rank at any of many moments.
        """
        rng = random.Random(seed)
        if all(self.visit(rng, 0)[1] is None for _ in range(_TRIES)):
            raise DatasetError(
                f"at none of {_TRIES:,} random moments a user of the train split liked something new afterwards, or a "
                f"prompt fits into {self.options.max_tokens} tokens: shorten the texts of the items, or look at the "
                "data with tastestream data check"
            )

    def visit(self, rng: random.Random, folds: int) -> tuple[list[PackedPrompt], PackedPrompt | None]:
        """Draw a random user at a random moment.

        Returns:
            At most `folds` summarizing examples from before that moment, and a ranking at that moment
            (None if the user liked nothing later, or has seen foreign items).
        """
        history = rng.choice(self.histories)
        cut = rng.randint(0, len(history) - 1)
        past, is_foreign = self._past(history[max(0, cut - self.options.memory) : cut], rng)
        lag = min(rng.randint(0, self.options.lag), len(past))
        steps = list(self.folds(past[: len(past) - lag], rng))
        chosen = rng.sample(steps, min(folds, len(steps)))
        summary = self._noisy(steps[-1].new, rng) if steps else ""
        prompts = [prompt for step in chosen if (prompt := self._summarizing(step)).length <= self.options.max_tokens]
        return prompts, None if is_foreign else self._ranking(UserView(summary, tuple(past)), history, cut, rng)

    def match(self, rng: random.Random) -> PackedPrompt | None:
        """Whether single terms and pictures agree with a summary; None for a user without a summary.

        A ranker must compare candidate and summary. It learns that slowly from whole candidates,
        of which many parts agree or disagree at once; a single term has one clear answer.
        """
        history = rng.choice(self.histories)
        past, is_foreign = self._past(history[: rng.randint(1, min(12, len(history)))], rng)
        vocabulary = self.foreign.names if self.foreign and is_foreign else self._vocabulary
        steps = list(self.folds(past, rng))
        summary = parse(steps[-1].new)
        if not summary.likes:
            return None
        count = self.options.questions
        asked = dict.fromkeys(rng.sample(summary.likes, min(len(summary.likes), count // 2)), 1.0)
        asked |= dict.fromkeys(rng.sample(summary.avoids, min(len(summary.avoids), count // 4)), 0.0)
        others = (term for term in rng.choices(vocabulary, k=count) if term not in summary.likes)
        asked |= dict.fromkeys(islice(others, count - len(asked)), 0.0)
        suffixes = [Segment(self.encoder.rank_item(ItemView("", (term,)))) for term in asked]
        labels = list(asked.values())
        if self.described:
            for item in rng.choices(self.described, k=count // 4):
                shown = self.terms.of(self.catalogue.views[item].without_words())
                if shown:
                    suffixes.append(self._candidates.segment(item, True, False))
                    labels.append(fmean(term in summary.likes for term in shown))
        prefix = Segment(self.encoder.rank_user(UserView(steps[-1].new)))
        return PackedPrompt(prefix, tuple(suffixes), tuple(labels), job="match")

    def folds(self, events: Sequence[InteractionView], rng: random.Random) -> Iterator[Fold]:
        """Fold a history in blocks, sometimes from a summary with mistakes in it.

        Most blocks have three events; some have fewer, and some more, as when many are pending.
        """
        summary, start = "", 0
        while start < len(events):
            size = rng.choices((3, rng.randint(1, 2), rng.randint(4, self.options.catch_up)), (0.6, 0.25, 0.15))[0]
            block = tuple(events[start : start + size])
            old = self._noisy(summary, rng)
            summary = self.teacher.fold(old, block, self.terms)
            yield Fold(old, block, summary)
            start += size

    def event(self, event: Interaction, rng: random.Random) -> InteractionView:
        """An interaction as a prompt shows it; sometimes its picture is not described yet, or wrongly."""
        number = self.catalogue.number.get(event.item_id)
        return InteractionView(event.type, None if number is None else self._described_item(number, rng), event.value)

    def _past(self, history: Sequence[Interaction], rng: random.Random) -> tuple[list[InteractionView], bool]:
        """The events as prompts show them, and whether foreign items replace all or some of theirs."""
        events = [self.event(event, rng) for event in history]
        if self.foreign is None or not events or rng.random() >= self.options.foreign:
            return events, False
        names, share = self.foreign.related_names(rng), rng.choice((1.0, 1.0, 0.4))
        return [
            replace(event, item=self.foreign.item(names, rng)) if rng.random() < share else event for event in events
        ], True

    def _described_item(self, number: int, rng: random.Random) -> ItemView:
        view = self.catalogue.views[number]
        if view.image is None:
            return view
        chance = rng.random()
        if chance < self.options.undescribed:
            return replace(view, summary="")
        if self.described and chance < self.options.undescribed + self.options.misdescribed:
            return replace(view, summary=self.catalogue.captions[rng.choice(self.described)])
        return view

    def _summarizing(self, fold: Fold) -> PackedPrompt:
        answer = self.encoder.answer(fold.new)
        prefix = Segment(self.encoder.summarize(fold.old, fold.block) + answer, answer=len(answer))
        return PackedPrompt(prefix, job="summarize")

    def _ranking(
        self, user: UserView, history: Sequence[Interaction], cut: int, rng: random.Random
    ) -> PackedPrompt | None:
        number = self.catalogue.number
        following = history[cut : cut + self.options.horizon]
        met = {event.item_id for event in history[:cut]}
        liked = [
            number[event.item_id]
            for event in following
            if event.liked and event.item_id in number and event.item_id not in met
        ]
        positives = list(dict.fromkeys(liked))[: self.options.positives]
        if not positives:
            return None
        known = {number[event.item_id] for event in history if event.item_id in number}
        wanted = self.options.candidates - len(positives)
        labelled = [(item, 1.0) for item in positives] + [(item, 0.0) for item in self._negatives(known, wanted, rng)]
        rng.shuffle(labelled)
        prefix = Segment(self.encoder.rank_user(user))
        room = self.options.max_tokens - len(prefix.ids)
        suffixes, labels = [], []
        for item, label in labelled:
            chance = rng.random()
            words_only = chance < self.options.drop_picture
            picture_only = not words_only and chance < self.options.drop_picture + self.options.drop_words
            has_picture = self.catalogue.picture[item] >= 0
            suffix = self._candidates.segment(item, not words_only, not (picture_only and has_picture))
            room -= len(suffix.ids)
            if room < 0:
                break
            suffixes.append(suffix)
            labels.append(label)
        return PackedPrompt(prefix, tuple(suffixes), tuple(labels)) if suffixes else None

    def _noisy(self, summary: str, rng: random.Random) -> str:
        if not summary or rng.random() >= self.options.noise:
            return summary
        parsed = parse(summary)
        return render(Summary(self._disturbed(parsed.likes, rng), self._disturbed(parsed.avoids, rng)))

    def _disturbed(self, terms: Sequence[str], rng: random.Random) -> tuple[str, ...]:
        changed = list(terms)
        for _ in range(rng.randint(1, 2)):
            place = rng.randrange(len(changed) + 1)
            match rng.randrange(3):
                case 0 if changed:
                    changed.pop(min(place, len(changed) - 1))
                case 1 if len(changed) > 1:
                    place = min(place, len(changed) - 2)
                    changed[place], changed[place + 1] = changed[place + 1], changed[place]
                case 2 if self._vocabulary:
                    changed.insert(place, rng.choice(self._vocabulary))
        return tuple(dict.fromkeys(changed))
