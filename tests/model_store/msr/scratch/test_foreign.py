"""Items from outside a catalogue, and the examples with them."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from model_store.data.dataset import read_dataset
from model_store.demo import outside
from model_store.demo.outside import measure_outside, repeats
from model_store.msr.scratch.examples import ExampleOptions, Examples
from model_store.msr.scratch.foreign import CATEGORIES, ForeignItems
from model_store.msr.teacher import RuleBasedTeacher, Summary, TermFinder, parse, render
from model_store.views import InteractionView
from tests.model_store.msr.conftest import Tiny

NAMES = ("sci-fi", "board games", "kliofeen")


def test_the_same_seed_invents_the_same_names_and_another_does_not() -> None:
    items = ForeignItems.create("a", NAMES, 50)
    assert items == ForeignItems.create("a", NAMES, 50)
    assert set(items.names) & set(ForeignItems.create("b", NAMES, 50).names) < set(items.names)


def test_what_is_asked_about_was_never_trained_on() -> None:
    assert set(outside.HELD_OUT) | set(outside.TRAINED) == set(CATEGORIES)
    assert not set(outside.HELD_OUT) & set(outside.TRAINED)


def test_the_teacher_copies_the_genres_of_foreign_items_and_nothing_of_their_titles() -> None:
    foreign, rng = ForeignItems(NAMES), random.Random(0)
    terms = TermFinder(frozenset(), frozenset()).with_names(NAMES)
    for _ in range(100):
        item = foreign.item(foreign.related_names(rng), rng)
        summary = parse(RuleBasedTeacher().fold("", [InteractionView("like", item)], terms))
        assert set(summary.likes) == {genre.lower() for genre in item.genres}


def test_foreign_histories_are_summarized_and_matched_but_not_ranked(tiny: Tiny, world: Path) -> None:
    dataset = read_dataset(world)
    histories = [dataset.histories[user] for user in dataset.users("train")]
    foreign = ForeignItems(NAMES)
    terms = TermFinder.learn(tiny.catalogue.views).with_names(NAMES)
    examples = Examples(
        tiny.catalogue, histories, tiny.encoder, RuleBasedTeacher(), terms, ExampleOptions(foreign=1.0), foreign
    )
    rng = random.Random(0)
    decode = tiny.encoder.tokenizer.decode
    answers = []
    for _ in range(30):
        folds, ranking = examples.visit(rng, 2)
        assert ranking is None or not folds, "only a user who has met nothing yet is ranked"
        answers += [decode(fold.prefix.ids[-fold.prefix.answer : -1]) for fold in folds]
    assert {name for answer in answers for name in parse(answer).likes} > set(NAMES)
    asked = [decode(suffix.ids) for _ in range(30) if (prompt := examples.match(rng)) for suffix in prompt.suffixes]
    assert any("board games" in text for text in asked)


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        ("Likes moss, jazz. Avoids moss.", False),
        ("Likes moss, moss.", True),
        ("Likes jazz, moss, moss, red. Avoids punk.", True),
        ("Likes jazz. Avoids punk, red, punk.", True),
        ("Likes nothing yet.", False),
        ("", False),
    ],
)
def test_a_term_that_stands_twice_in_a_list_is_a_repetition(summary: str, expected: bool) -> None:
    assert repeats(summary) is expected


class Answering:
    """Plays a summarizer with one way of answering."""

    def __init__(self, answer: Callable[[str, Sequence[InteractionView]], str]) -> None:
        self._answer = answer

    def summarize(self, steps: Sequence[tuple[str, Sequence[InteractionView]]]) -> list[str]:
        return [self._answer(old, block) for old, block in steps]


def _copies(old: str, block: Sequence[InteractionView]) -> str:
    terms = TermFinder(frozenset(), frozenset()).with_names(
        name for event in block if event.item for name in event.item.genres
    )
    return RuleBasedTeacher(likes=99).fold(old, block, terms.with_names((*parse(old).likes, *parse(old).avoids)))


def test_a_summarizer_that_copies_neither_repeats_nor_recites() -> None:
    found = measure_outside(Answering(_copies), TermFinder(frozenset(), frozenset()))
    assert (found.repeating, found.reciting, found.precision) == (0, 0, 1)
    assert found.recall > 0.9


def test_a_summarizer_that_knows_only_its_world_is_caught() -> None:
    reciting = render(Summary(("moss", "moss", "jazz")))
    found = measure_outside(Answering(lambda old, block: reciting), TermFinder(frozenset(), frozenset()))
    # The second answer of a history finds its words in the old summary.
    assert (found.repeating, found.reciting, found.recall) == (1, 0.25, 0)
