"""`train`: from a dataset folder to two registered model versions that share their weights.

The tokenizer is trained on the dataset's words, the model from scratch on its histories; users of
the validation split fit the blend, users of the test split are never read.
"""

import random
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from model_store.data.dataset import Dataset, DatasetError, read_dataset
from model_store.evaluate.likes import Likes
from model_store.evaluate.protocol import liked_by
from model_store.msr.scratch.architecture import Sizes, new_model, read_checkpoint, train_tokenizer
from model_store.msr.scratch.catalogue import Catalogue
from model_store.msr.scratch.encoding import Encoder
from model_store.msr.scratch.examples import ExampleOptions, Examples
from model_store.msr.scratch.foreign import ForeignItems
from model_store.msr.scratch.packing import Tree
from model_store.msr.scratch.publish import Origin, Trained, register, require_place
from model_store.msr.scratch.scoring import Examiner
from model_store.msr.scratch.trainer import Learner, Losses
from model_store.msr.scratch.validation import validate
from model_store.msr.teacher import Summary, TasteRule, TermFinder, render
from model_store.precision import multiplies_bfloat16
from model_store.prompts import PromptSet
from model_store.registry.manifest import Manifest
from model_store.signals import BUILT_IN, Signals
from model_store.views import UserView


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """How long and on what to train.

    `minutes` bounds the optimizer's time; the learning rate follows the clock, so that any budget
    gets its whole schedule. `steps`, when given, replaces it and makes a run repeatable to the step.
    """

    minutes: float = 30.0
    steps: int | None = None
    seed: int = 0
    sizes: Sizes = field(default_factory=lambda: Sizes(vocabulary=4096))
    examples: ExampleOptions = field(default_factory=ExampleOptions)
    rule: TasteRule = field(default_factory=TasteRule)
    tokens: int = 2400
    """Tokens of one step, padding left out."""
    learning_rate: float = 2e-3
    start: Path | None = None
    """A checkpoint of the same sizes to continue from, with its tokenizer; None starts from random weights."""
    half: bool | None = None
    """Multiply in bfloat16; None decides by whether the processors have units for it."""
    first_stage: float = 0.25
    """The share of the run that describes, summarizes and matches: a ranker must first be able to read."""
    foreign: ForeignItems | None = None
    """What the share `examples.foreign` of the summaries is about: items from outside the catalogue."""
    needed_steps: int = 2000
    """With far fewer the recipe has learned little: the version says so."""
    neighbours: int = 128
    """Co-occurring items kept per item in the co-occurrence file."""
    signals: Signals = BUILT_IN
    """What the interactions mean; registered with the versions."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a run is doing: `done` of the stage in 0..1."""

    stage: str
    done: float
    step: int = 0
    losses: Losses | None = None
    labels_per_s: float = 0.0

    @property
    def note(self) -> str:
        """The step and its losses, "" outside training."""
        return "" if self.losses is None else f"step {self.step}: {self.losses}, {self.labels_per_s:.0f} labels/s"


Report = Callable[[Progress], None]


def train(
    data: Path, store: Path, *, name: str, options: TrainOptions | None = None, progress: Report = lambda told: None
) -> tuple[Manifest, Manifest]:
    """Train on the dataset folder `data`; register `<name>-ranker` and `<name>-summarizer` in `store`.

    Returns:
        The manifests of the ranker and of the summarizer.

    Raises:
        DatasetError: the folder is malformed, or no training user has a history.
        ManifestError: nothing can be registered in `store`, or not by this name.
    """
    options = options or TrainOptions()
    require_place(store, name)
    progress(Progress("reading", 0))
    dataset = read_dataset(data, options.signals)
    trained = fit(dataset, options, progress)
    cooccurrence = Likes(liked_by(dataset, "train")).cooccurrence(options.neighbours)
    examiner = Examiner(trained.writer(), trained.catalogue, trained.catalogue.captions)
    found = validate(
        examiner,
        dataset,
        cooccurrence,
        options.seed,
        lambda done, total: progress(Progress("validating", done / total)),
    )
    origin = Origin(command=shlex.join(["tastestream", *sys.argv[1:]]), data=data.name, seed=options.seed)
    manifests = register(trained, cooccurrence, found, origin, store=store, name=name)
    progress(Progress("registered", 1))
    return manifests


def fit(dataset: Dataset, options: TrainOptions, progress: Report) -> Trained:
    """Train tokenizer and model on the train users of `dataset`."""
    rng = random.Random(options.seed)
    histories = [dataset.histories[user] for user in dataset.users("train") if len(dataset.histories[user]) > 1]
    if not histories:
        raise DatasetError("no user of the train split has two interactions: there is nothing to learn from")
    catalogue = Catalogue(dataset, options.sizes.picture)
    foreign = options.foreign
    terms = TermFinder.learn(catalogue.views).knowing(foreign.names if foreign else ())
    progress(Progress("tokenizer", 0))
    prompts = PromptSet.built_in("compact", options.signals)
    if options.start is None:
        tokenizer = train_tokenizer(list(_corpus(catalogue, prompts, terms)), options.sizes.vocabulary)
        model = new_model(tokenizer, options.sizes, options.seed)
    else:
        model, processor = read_checkpoint(options.start)
        model, tokenizer = model.train(), processor.tokenizer
    encoder = Encoder(tokenizer, prompts, options.sizes)
    rule = replace(options.rule, signals=options.signals)
    examples = Examples(catalogue, histories, encoder, rule, terms, options.examples, foreign)
    row = _row_length(examples, rng)
    examples = replace(examples, options=replace(options.examples, max_tokens=row))
    learner = Learner(
        model,
        encoder,
        options.sizes,
        catalogue.pixels,
        learning_rate=options.learning_rate,
        half=_half(options),
        seed=options.seed,
    )
    steps, seconds = _run(learner, examples, row, options, rng, progress)
    return Trained(
        model, encoder, catalogue, options.sizes, steps, seconds / 60, shortfall(steps, seconds, options.needed_steps)
    )


def shortfall(steps: int, seconds: float, needed: int) -> str:
    """What to say of a run that ended far below the steps that its recipe needs; "" of any other."""
    if steps >= needed / 2:
        return ""
    return (
        f"{steps} steps of about {needed} that this recipe needs, at {seconds / max(steps, 1):.1f} s each: "
        f"expect a model that has learned little. Train with --steps {needed} instead of --minutes"
    )


def _half(options: TrainOptions) -> bool:
    return multiplies_bfloat16() if options.half is None else options.half


def _run(
    learner: Learner, examples: Examples, row: int, options: TrainOptions, rng: random.Random, progress: Report
) -> tuple[int, float]:
    start, step, done, labels = time.monotonic(), 0, 0.0, 0
    recent: list[Losses] = []
    told = start
    while done < 1:
        trees = list(draw(examples, options, done, rng))
        recent.append(learner.step(trees, row, done))
        labels += sum(len(tree.labels) for tree in trees)
        step += 1
        now = time.monotonic()
        done = step / options.steps if options.steps else (now - start) / (60 * options.minutes)
        if now - told > 5 or done >= 1:
            progress(Progress("training", min(done, 1.0), step, Losses.mean(recent), labels / (now - start)))
            recent, told = [], now
    return step, time.monotonic() - start


def draw(examples: Examples, options: TrainOptions, done: float, rng: random.Random) -> Iterator[Tree]:
    """Draw the trees of one step: by visits to users, with descriptions in between."""
    first = done < options.first_stage
    tokens = 0
    while tokens < options.tokens:
        trees, ranking = examples.visit(rng, 2 if first else 1)
        if ranking is not None and not first:
            trees.append(ranking)
        if (first or rng.random() < 0.15) and (matching := examples.match(rng)) is not None:
            trees.append(matching)
        if examples.can_describe:
            trees += [examples.describe(rng) for _ in range(4 if first else 2)]
        tokens += sum(tree.length for tree in trees)
        yield from trees


def _row_length(examples: Examples, rng: random.Random, most: int = 512) -> int:
    """The longest of some examples, as a multiple of 32 and at most `most` tokens: no row is longer than it need be."""
    lengths = [1]
    for _ in range(300):
        folds, ranking = examples.visit(rng, 1)
        lengths += [tree.length for tree in (*folds, *([ranking] if ranking else []))]
    return min(most, -(-max(lengths) // 32) * 32)


def _corpus(catalogue: Catalogue, prompts: PromptSet, terms: TermFinder) -> Iterator[str]:
    """Texts like those of the prompts: every word in the places where it will stand."""
    for number, view in enumerate(catalogue.views):
        found = terms.of(view)
        yield prompts.describe(view)
        yield prompts.rank_item(view)
        yield catalogue.captions[number]
        yield render(Summary(found[:6], found[6:]))
        yield f"like: {view.title} | {', '.join(view.genres)}"
    yield from ["none", *(f"{kind}: unknown" for kind in ("like", "dislike", "view", "click")), "summary:"] * 50
    yield from [prompts.rank_user(UserView())] * 50
