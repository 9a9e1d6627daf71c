import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_store.data.dataset import Interaction, read_dataset
from model_store.msr.scratch.catalogue import Catalogue
from model_store.msr.scratch.examples import ExampleOptions, Examples
from model_store.msr.scratch.train import TrainOptions, draw
from model_store.msr.scratch.trainer import augment, one_cycle
from model_store.msr.teacher import RuleBasedTeacher, TermFinder, parse
from model_store.pictures import PictureSize
from model_store.views import UserView
from tests.model_store.msr.conftest import Tiny

TEACHER = RuleBasedTeacher()


@pytest.fixture(scope="module")
def examples(tiny: Tiny, world: Path) -> Examples:
    dataset = read_dataset(world)
    histories = [dataset.histories[user] for user in dataset.users("train")]
    terms = TermFinder.learn(tiny.catalogue.views)
    return Examples(tiny.catalogue, histories, tiny.encoder, TEACHER, terms, ExampleOptions(candidates=8))


def test_positives_are_liked_later_and_negatives_never_met(examples: Examples) -> None:
    rng = random.Random(0)
    of_text = {tuple(examples.encoder.rank_item(view)): n for n, view in enumerate(examples.catalogue.views)}
    rankings = [ranking for _ in range(30) if (ranking := examples.visit(rng, 0)[1])]
    met = [{event.item_id for event in history} for history in examples.histories]
    for ranking in rankings:
        numbers = [of_text.get(tuple(suffix.ids)) for suffix in ranking.suffixes]
        asked = [(examples.catalogue.ids[n], label) for n, label in zip(numbers, ranking.labels, strict=True) if n]
        assert any(all((item in items) == (label == 1) for item, label in asked) for items in met)
    assert {label for ranking in rankings for label in ranking.labels} == {0.0, 1.0}


def test_an_item_that_the_prompt_shows_is_no_positive(tiny: Tiny) -> None:
    ids = tiny.catalogue.ids[:4]
    history = [Interaction(item, "like", float(n)) for n, item in enumerate([*ids[:3], ids[0], ids[1], ids[3]])]
    terms = TermFinder.learn(tiny.catalogue.views)
    own = Examples(tiny.catalogue, [history], tiny.encoder, TEACHER, terms, ExampleOptions(drop_words=0))
    of_text = {tuple(tiny.encoder.rank_item(view)): n for n, view in enumerate(tiny.catalogue.views)}
    of_text |= {tuple(tiny.encoder.rank_item(v.without_picture())): n for n, v in enumerate(tiny.catalogue.views)}
    for cut in range(len(history)):
        met = {event.item_id for event in history[:cut]}
        prompt = own._ranking(UserView(), history, cut, random.Random(cut))
        assert prompt is not None
        liked = {
            tiny.catalogue.ids[of_text[tuple(suffix.ids)]]
            for suffix, label in zip(prompt.suffixes, prompt.labels, strict=True)
            if label == 1
        }
        assert liked == {event.item_id for event in history[cut:]} - met


def test_pictures_without_any_words_are_learned_from(world: Path, tiny: Tiny) -> None:
    dataset = read_dataset(world)
    bare = {key: replace(item, genres=(), tags=(), caption="") for key, item in dataset.items.items()}
    catalogue = Catalogue(replace(dataset, items=bare), PictureSize(32, 32))
    histories, terms = list(dataset.histories.values()), TermFinder.learn(catalogue.views)
    options = TrainOptions(examples=ExampleOptions(misdescribed=1, undescribed=0), first_stage=0)
    found = Examples(catalogue, histories, tiny.encoder, TEACHER, terms, options.examples)
    assert {prompt.job for prompt in draw(found, options, 0.5, random.Random(0))} >= {"rank", "summarize"}


def test_folding_targets_come_from_the_teacher(examples: Examples) -> None:
    rng = random.Random(0)
    events = [examples.event(event, rng) for event in examples.histories[0]]
    for fold in examples.folds(events, rng):
        assert 1 <= len(fold.block) <= examples.options.catch_up
        assert fold.new == TEACHER.fold(fold.old, fold.block, examples.terms)


def test_a_description_ends_with_the_caption_of_its_picture(examples: Examples) -> None:
    prefix = examples.describe(random.Random(3)).prefix
    caption = examples.encoder.tokenizer.decode(prefix.ids[-prefix.answer : -1])
    assert examples.catalogue.captions[prefix.pictures[0]] == caption


def test_matching_asks_about_what_the_summary_says(examples: Examples) -> None:
    prompt = next(prompt for seed in range(9) if (prompt := examples.match(random.Random(seed))))
    text = examples.encoder.tokenizer.decode(prompt.prefix.ids).split("\n")[0].removeprefix("<|im_start|>")
    asked = [examples.encoder.tokenizer.decode(suffix.ids) for suffix in prompt.suffixes if not suffix.pictures]
    for term, label in zip(asked, prompt.labels, strict=False):
        assert (term.removeprefix("| ").removesuffix("<|im_end|>") in parse(text).likes) == (label == 1)


def test_the_learning_rate_rises_and_falls_within_its_bounds() -> None:
    rates = [one_cycle(step / 100) for step in range(101)]
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert min(rates) >= 0.01
    assert max(rates) <= 1


def test_augmented_pictures_keep_their_colours(tiny: Tiny) -> None:
    pictures = tiny.catalogue.pixels[:4]
    augmented = augment(pictures, np.random.default_rng(0))
    assert augmented.shape == pictures.shape
    assert not np.array_equal(augmented, pictures)
    assert abs(float(augmented.mean()) - float(pictures.mean())) < 10
