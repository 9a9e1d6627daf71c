"""Training examples of the three jobs, drawn from the histories of the training users."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, islice
from statistics import fmean

from model_store.data.dataset import Interaction
from model_store.msr.scratch.catalogue import Candidates, Catalogue
from model_store.msr.scratch.encoding import Encoder
from model_store.msr.scratch.foreign import ForeignItems
from model_store.msr.scratch.packing import Segment, Tree
from model_store.msr.teacher import Summary, TasteRule, TermFinder, parse, render
from model_store.views import InteractionView, ItemView, UserView


@dataclass(frozen=True, slots=True)
class ExampleOptions:
    """How examples are drawn. Shares and chances are in 0..1, lengths in events unless they say tokens."""

    candidates: int = 12
    positives: int = 5
    horizon: int = 24
    """Positives are the next liked items among this many following events."""
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
    """The chance that a summary is one which a model could have written by mistake."""
    questions: int = 16
    """Single terms asked about in one matching example, and a fourth as many single pictures."""
    max_tokens: int = 512
    """Examples are kept within this length."""
    foreign: float = 0.0
    """The share of summaries and matchings that are about items from outside the catalogue."""


@dataclass(frozen=True, slots=True)
class Fold:
    """One recurrent step: old summary, block, new summary."""

    old: str
    block: tuple[InteractionView, ...]
    new: str


@dataclass(slots=True)
class Examples:
    """Draws examples; all randomness comes from the `rng` that each call is given."""

    catalogue: Catalogue
    histories: Sequence[Sequence[Interaction]]
    encoder: Encoder
    rule: TasteRule
    terms: TermFinder
    options: ExampleOptions = field(default_factory=ExampleOptions)
    foreign: ForeignItems | None = None
    """Where `options.foreign` takes its items from; `terms` must know their names."""
    _popularity: list[float] = field(init=False)
    _described: list[int] = field(init=False)
    _candidates: Candidates = field(init=False)
    _descriptions: dict[int, Tree] = field(init=False, default_factory=dict)
    _vocabulary: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self._candidates = Candidates(self.catalogue, self.encoder)
        counts = [0] * len(self.catalogue.ids)
        for history in self.histories:
            for event in history:
                if event.liked and event.item_id in self.catalogue.number:
                    counts[self.catalogue.number[event.item_id]] += 1
        self._popularity = list(accumulate(counts))
        pairs = enumerate(zip(self.catalogue.views, self.catalogue.captions, strict=True))
        self._described = [number for number, (view, caption) in pairs if caption and view.image is not None]
        self._vocabulary = sorted({term for view in self.catalogue.views for term in self.terms.of(view)})

    @property
    def can_describe(self) -> bool:
        return bool(self._described)

    def describe(self, rng: random.Random) -> Tree:
        """Picture and title -> caption, of a random item that has both picture and caption."""
        number = rng.choice(self._described)
        if number not in self._descriptions:
            answer = self.encoder.answer(self.catalogue.captions[number])
            ids = self.encoder.describe(self.catalogue.views[number]) + answer
            trunk = Segment(ids, (self.catalogue.picture[number],), len(answer))
            self._descriptions[number] = Tree(trunk, job="describe")
        return self._descriptions[number]

    def visit(self, rng: random.Random, folds: int) -> tuple[list[Tree], Tree | None]:
        """Look at a random user at a random moment.

        Returns:
            At most `folds` summarizing examples of the way there, and a ranking of that moment
            (None if the user liked nothing afterwards, or has met foreign items).
        """
        history = rng.choice(self.histories)
        cut = rng.randint(0, len(history) - 1)
        past = [self.event(event, rng) for event in history[max(0, cut - self.options.memory) : cut]]
        abroad = self._abroad(past, rng)
        past = abroad or past
        lag = min(rng.randint(0, self.options.lag), len(past))
        steps = list(self.folds(past[: len(past) - lag], rng))
        chosen = rng.sample(steps, min(folds, len(steps)))
        summary = self._noisy(steps[-1].new, rng) if steps else ""
        trees = [tree for step in chosen if (tree := self._fold_tree(step)).length <= self.options.max_tokens]
        return trees, None if abroad else self._rank_tree(UserView(summary, tuple(past)), history, cut, rng)

    def match(self, rng: random.Random) -> Tree | None:
        """Ask whether a summary agrees with single terms and pictures; None for a user without a summary.

        A ranker must compare candidate and summary. Whole candidates teach that slowly, because
        many parts agree or disagree at once; a single term has one clear answer.
        """
        history = rng.choice(self.histories)
        past = [self.event(event, rng) for event in history[: rng.randint(1, min(12, len(history)))]]
        abroad = self._abroad(past, rng)
        past = abroad or past
        vocabulary = self.foreign.names if self.foreign and abroad else self._vocabulary
        steps = list(self.folds(past, rng))
        said = parse(steps[-1].new)
        if not said.likes:
            return None
        count = self.options.questions
        asked = dict.fromkeys(rng.sample(said.likes, min(len(said.likes), count // 2)), 1.0)
        asked |= dict.fromkeys(rng.sample(said.avoids, min(len(said.avoids), count // 4)), 0.0)
        strangers = (term for term in rng.choices(vocabulary, k=count) if term not in said.likes)
        asked |= dict.fromkeys(islice(strangers, count - len(asked)), 0.0)
        branches = [Segment(self.encoder.rank_item(ItemView("", (term,)))) for term in asked]
        labels = list(asked.values())
        if self._described:
            for item in rng.choices(self._described, k=count // 4):
                shown = self.terms.of(self.catalogue.views[item].without_words())
                if shown:
                    branches.append(self._candidates.segment(item, words=False))
                    labels.append(fmean(term in said.likes for term in shown))
        trunk = Segment(self.encoder.rank_user(UserView(steps[-1].new)))
        return Tree(trunk, tuple(branches), tuple(labels), job="match")

    def folds(self, events: Sequence[InteractionView], rng: random.Random) -> Iterator[Fold]:
        """Fold a history in blocks, now and then from a summary with mistakes in it.

        Most blocks have three events; some have fewer, and some more, as when many are pending.
        """
        summary, start = "", 0
        while start < len(events):
            size = rng.choices((3, rng.randint(1, 2), rng.randint(4, self.options.catch_up)), (0.6, 0.25, 0.15))[0]
            block = tuple(events[start : start + size])
            old = self._noisy(summary, rng)
            summary = self.rule.fold(old, block, self.terms)
            yield Fold(old, block, summary)
            start += size

    def event(self, event: Interaction, rng: random.Random) -> InteractionView:
        """An interaction as a prompt shows it: now and then its picture is not described yet, or wrongly."""
        number = self.catalogue.number.get(event.item_id)
        return InteractionView(event.type, None if number is None else self._recalled(number, rng), event.value)

    def _abroad(self, past: Sequence[InteractionView], rng: random.Random) -> list[InteractionView]:
        """Now and then the same events with foreign items in place of all or some; otherwise nothing."""
        if self.foreign is None or not past or rng.random() >= self.options.foreign:
            return []
        circle, share = self.foreign.circle(rng), rng.choice((1.0, 1.0, 0.4))
        return [
            replace(event, item=self.foreign.item(circle, rng)) if rng.random() < share else event for event in past
        ]

    def _recalled(self, number: int, rng: random.Random) -> ItemView:
        view = self.catalogue.views[number]
        if view.image is None:
            return view
        luck = rng.random()
        if luck < self.options.undescribed:
            return replace(view, summary="")
        if luck < self.options.undescribed + self.options.misdescribed:
            return replace(view, summary=self.catalogue.captions[rng.choice(self._described)])
        return view

    def _fold_tree(self, fold: Fold) -> Tree:
        answer = self.encoder.answer(fold.new)
        return Tree(Segment(self.encoder.summarize(fold.old, fold.block) + answer, answer=len(answer)), job="summarize")

    def _rank_tree(self, user: UserView, history: Sequence[Interaction], cut: int, rng: random.Random) -> Tree | None:
        number = self.catalogue.number
        following = history[cut : cut + self.options.horizon]
        liked = [number[event.item_id] for event in following if event.liked and event.item_id in number]
        positives = list(dict.fromkeys(liked))[: self.options.positives]
        if not positives:
            return None
        known = {number[event.item_id] for event in history if event.item_id in number}
        wanted = self.options.candidates - len(positives)
        labelled = [(item, 1.0) for item in positives] + [(item, 0.0) for item in self._negatives(known, wanted, rng)]
        rng.shuffle(labelled)
        trunk = Segment(self.encoder.rank_user(user))
        room = self.options.max_tokens - len(trunk.ids)
        branches, labels = [], []
        for item, label in labelled:
            luck = rng.random()
            words_only = luck < self.options.drop_picture
            picture_only = not words_only and luck < self.options.drop_picture + self.options.drop_words
            has_picture = self.catalogue.picture[item] >= 0
            branch = self._candidates.segment(item, not words_only, not (picture_only and has_picture))
            room -= len(branch.ids)
            if room < 0:
                break
            branches.append(branch)
            labels.append(label)
        return Tree(trunk, tuple(branches), tuple(labels)) if branches else None

    def _negatives(self, known: set[int], count: int, rng: random.Random) -> list[int]:
        everything = range(len(self.catalogue.ids))
        found: list[int] = []
        for _ in range(20 * count):
            if len(found) == count:
                break
            popular = rng.random() < self.options.popular_negatives and self._popularity[-1] > 0
            item = rng.choices(everything, cum_weights=self._popularity)[0] if popular else rng.choice(everything)
            if item not in known and item not in found:
                found.append(item)
        return found

    def _noisy(self, summary: str, rng: random.Random) -> str:
        if not summary or rng.random() >= self.options.noise:
            return summary
        said = parse(summary)
        return render(Summary(self._disturbed(said.likes, rng), self._disturbed(said.avoids, rng)))

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
