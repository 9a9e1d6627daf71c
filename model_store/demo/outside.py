"""How the demo's summarizer does outside of its world: does it repeat itself, does it recite its own world's words?"""

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

KEPT_BACK = CATEGORIES[::5]
"""Categories that no training step has seen."""
TRAINED = tuple(name for name in CATEGORIES if name not in KEPT_BACK)
_INVENTED, _BLOCKS, _HISTORIES = 60, 4, 150
_WORLD = {word for values in (*ATTRIBUTES.values(), *THEMES.values()) for word in values}
Steps = Sequence[tuple[str, Sequence[InteractionView]]]
_TYPES = ("like", "like", "like", "dislike", "view")


@dataclass(frozen=True, slots=True)
class Outside:
    """Shares in 0..1 of `folds` answers to blocks of foreign items, and of the genres in them."""

    folds: int
    repeating: float
    """Answers with a term that stands twice in one list."""
    reciting: float
    """Answers with a word of the world that neither the old summary nor the block has."""
    recall: float
    """Genres that a block likes and its answer states."""
    precision: float
    """Stated terms that the old summary or the block has."""


class Summarizer(Protocol):
    """Writes the summary that follows each (old summary, block)."""

    def summarize(self, steps: Steps) -> list[str]: ...


def measure_outside(writer: Summarizer, terms: TermFinder, seed: int = 0) -> Outside:
    """Fold histories of items whose words no training step has seen.

    Args:
        terms: knows the terms of the world; its answer to a block of foreign items is nothing.
    """
    foreign = ForeignItems.make(f"kept back {seed}", KEPT_BACK, _INVENTED)
    rng = random.Random(f"outside {seed}")
    histories = []
    for _ in range(_HISTORIES):
        circle = foreign.circle(rng)
        histories.append([_event(foreign, circle, terms, rng) for _ in range(3 * _BLOCKS)])
    summaries = [""] * _HISTORIES
    repeating, reciting, recalls, precisions = [], [], [], []
    for start in range(0, 3 * _BLOCKS, 3):
        blocks = [history[start : start + 3] for history in histories]
        written = writer.summarize(list(zip(summaries, blocks, strict=True)))
        for old, block, new in zip(summaries, blocks, written, strict=True):
            repeating.append(repeats(new))
            known = {*words_of(old), *(word for event in block for word in _words(event))}
            reciting.append(bool((set(words_of(new)) & _WORLD) - known))
            likes = _liked(block)
            said = parse(new)
            stated = {*said.likes, *said.avoids}
            old_terms = {*parse(old).likes, *parse(old).avoids}
            if likes:
                recalls.append(len(likes & stated) / len(likes))
            if stated:
                precisions.append(len(stated & (old_terms | _genres(block))) / len(stated))
        summaries = written
    return Outside(len(repeating), fmean(repeating), fmean(reciting), _mean(recalls), _mean(precisions))


def repeats(summary: str) -> bool:
    """Whether a term stands twice in one list of a summary."""
    for sentence in summary.split("."):
        terms = [term.strip() for term in re.sub(r"^\s*(?:Likes|Avoids)\b", "", sentence).split(",")]
        if len(set(terms)) < len(terms):
            return True
    return False


def _event(foreign: ForeignItems, circle: tuple[str, ...], terms: TermFinder, rng: random.Random) -> InteractionView:
    while terms.of(item := foreign.item(circle, rng)):
        pass
    return InteractionView(rng.choice(_TYPES), item)


def _words(event: InteractionView) -> Sequence[str]:
    return [] if event.item is None else words_of(" ".join((event.item.title, *event.item.genres)))


def _genres(block: Sequence[InteractionView]) -> set[str]:
    return {normalize(name) for event in block if event.item for name in event.item.genres}


def _liked(block: Sequence[InteractionView]) -> set[str]:
    """What the block likes and does not dislike as well."""
    return _genres([event for event in block if event.type == "like"]) - _genres(
        [event for event in block if event.type == "dislike"]
    )


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else 0.0
