"""Measures the demo's summarizer on items from outside its world: repetitions, and words of the world."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Protocol

from model_store.demo.world import ATTRIBUTES, THEMES
from model_store.msr.scratch.foreign import CATEGORIES, ForeignItems
from model_store.msr.teacher import TermFinder, normalize, parse, words_of
from model_store.views import InteractionView

HELD_OUT = CATEGORIES[::5]
"""Categories that are not used in training."""
TRAINED = tuple(name for name in CATEGORIES if name not in HELD_OUT)
_INVENTED, _BLOCKS, _HISTORIES = 60, 4, 150
_WORLD_WORDS = {word for values in (*ATTRIBUTES.values(), *THEMES.values()) for word in values}
Steps = Sequence[tuple[str, Sequence[InteractionView]]]
_TYPES = ("like", "like", "like", "dislike", "view")


@dataclass(frozen=True, slots=True)
class Outside:
    """Shares in 0..1 of `folds` answers to blocks of foreign items, and of the genres in them."""

    folds: int
    repeating: float
    """Answers with a term twice in one list."""
    reciting: float
    """Answers with a word of the world that is neither in the old summary nor in the block."""
    recall: float
    """Liked genres of a block that its answer states."""
    precision: float
    """Stated terms that are in the old summary or the block."""


class Summarizer(Protocol):
    """Writes the summary that follows each (old summary, block)."""

    def summarize(self, steps: Steps) -> list[str]: ...


def measure_outside(summarizer: Summarizer, terms: TermFinder) -> Outside:
    """Fold histories of items whose words were not used in training.

    Args:
        terms: finds the terms of the world, none of which the items have.
    """
    foreign = ForeignItems.create("kept back 0", HELD_OUT, _INVENTED)
    rng = random.Random("outside 0")
    histories = []
    for _ in range(_HISTORIES):
        names = foreign.related_names(rng)
        histories.append([_event(foreign, names, terms, rng) for _ in range(3 * _BLOCKS)])
    summaries = [""] * _HISTORIES
    repeating, reciting, recalls, precisions = [], [], [], []
    for start in range(0, 3 * _BLOCKS, 3):
        blocks = [history[start : start + 3] for history in histories]
        written = summarizer.summarize(list(zip(summaries, blocks, strict=True)))
        for old, block, new in zip(summaries, blocks, written, strict=True):
            repeating.append(repeats(new))
            known = {*words_of(old), *(word for event in block for word in _words(event))}
            reciting.append(bool((set(words_of(new)) & _WORLD_WORDS) - known))
            # A genre that the block both likes and dislikes does not count as liked.
            likes, stated = _genres(block, "like") - _genres(block, "dislike"), _terms(new)
            if likes:
                recalls.append(len(likes & stated) / len(likes))
            if stated:
                precisions.append(len(stated & (_terms(old) | _genres(block, *_TYPES))) / len(stated))
        summaries = written
    return Outside(len(repeating), fmean(repeating), fmean(reciting), _mean(recalls), _mean(precisions))


def repeats(summary: str) -> bool:
    """Whether a summary has a term twice in one list."""
    for sentence in summary.split("."):
        terms = [term.strip() for term in re.sub(r"^\s*(?:Likes|Avoids)\b", "", sentence).split(",")]
        if len(set(terms)) < len(terms):
            return True
    return False


def _event(foreign: ForeignItems, names: tuple[str, ...], terms: TermFinder, rng: random.Random) -> InteractionView:
    while terms.of(item := foreign.item(names, rng)):
        pass
    return InteractionView(rng.choice(_TYPES), item)


def _words(event: InteractionView) -> Sequence[str]:
    return [] if event.item is None else words_of(" ".join((event.item.title, *event.item.genres)))


def _genres(block: Sequence[InteractionView], *types: str) -> set[str]:
    return {normalize(name) for event in block if event.item and event.type in types for name in event.item.genres}


def _terms(summary: str) -> set[str]:
    parsed = parse(summary)
    return {*parsed.likes, *parsed.avoids}


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else 0.0
