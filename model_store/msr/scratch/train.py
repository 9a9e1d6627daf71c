"""`train`: from a dataset folder to two registered model versions that share their weights.

The tokenizer is trained on the dataset's texts, the model from scratch on its histories. Users of
the validation split are used to fit the blend; users of the test split are never used.
"""

import random
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from model_store.data.check import require
from model_store.data.dataset import Dataset, DatasetError, read_dataset
from model_store.evaluate.item_weights import require_item_weight_memory
from model_store.msr.scratch.architecture import Sizes, new_model, read_checkpoint, train_tokenizer
from model_store.msr.scratch.catalogue import Catalogue
from model_store.msr.scratch.encoding import Encoder
from model_store.msr.scratch.examples import ExampleOptions, Examples
from model_store.msr.scratch.foreign import ForeignItems
from model_store.msr.scratch.packing import PackedPrompt
from model_store.msr.scratch.publish import Trained, register, require_place
from model_store.msr.scratch.trainer import Losses, Trainer
from model_store.msr.teacher import RuleBasedTeacher, Summary, TermFinder, render
from model_store.precision import multiplies_bfloat16
from model_store.progress import Report, quiet
from model_store.prompts import PromptSet
from model_store.registry.manifest import Manifest, Training
from model_store.signals import BUILT_IN, Signals
from model_store.views import UserView

_MAX_ROW = 512
_REPORT_EVERY_S = 5


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """How long and on what to train.

    `minutes` bounds the optimizer's time; the learning rate follows the clock, and any budget gets
    the whole schedule. `steps`, if given, replaces it and makes a run repeatable.
    """

    minutes: float = 30.0
    steps: int | None = None
    seed: int = 0
    sizes: Sizes = field(default_factory=lambda: Sizes(vocabulary=4096))
    examples: ExampleOptions = field(default_factory=ExampleOptions)
    tokens: int = 2400
    """Tokens of one step, without padding."""
    learning_rate: float = 2e-3
    start: Path | None = None
    """A checkpoint of the same sizes to continue from, with its tokenizer; None starts from random weights."""
    bf16: bool | None = None
    """Multiply in bfloat16; None does if the processor has units for it."""
    first_stage: float = 0.25
    """The share of the run that describes, summarizes and matches: a ranker must first learn to read."""
    foreign: ForeignItems | None = None
    """Items from outside the catalogue, for the share `examples.foreign` of the summaries."""
    needed_steps: int = 2000
    """With far fewer the model learns little, and the version gets a warning."""
    neighbours: int = 128
    """Co-occurring items kept per item in the co-occurrence file."""
    signals: Signals = BUILT_IN
    """What the interactions mean; registered with the versions."""


def train(
    data: Path, store: Path, *, name: str, options: TrainOptions, progress: Report = quiet
) -> tuple[Manifest, Manifest]:
    """Train on the dataset folder `data`; register `<name>-ranker` and `<name>-summarizer` in `store`.

    Returns:
        The manifests of the ranker and of the summarizer.

    Raises:
        DatasetError: the folder is malformed, or can't be trained on.
        EaseMemoryError: item weights would not fit into memory.
        ManifestError: nothing can be registered in `store`, or not by this name.
    """
    require_place(store, name)
    progress("reading", 0, "")
    dataset = read_dataset(data, options.signals)
    require(dataset, "training")
    require_item_weight_memory(dataset)
    trained = fit(dataset, options, progress)
    origin = Training(command=shlex.join(["tastestream", *sys.argv[1:]]), data=data.name, seed=options.seed)
    manifests = register(
        trained, dataset, origin, store=store, name=name, neighbours=options.neighbours, progress=progress
    )
    progress("registered", 1, "")
    return manifests


def fit(dataset: Dataset, options: TrainOptions, progress: Report) -> Trained:
    """Train tokenizer and model on the train users of `dataset`."""
    rng = random.Random(options.seed)
    histories = [dataset.histories[user] for user in dataset.users("train") if len(dataset.histories[user]) > 1]
    if not histories:
        raise DatasetError("no user of the train split has two interactions: there is nothing to learn from")
    catalogue = Catalogue(dataset, options.sizes.picture)
    foreign = options.foreign
    terms = TermFinder.learn(catalogue.views).with_names(foreign.names if foreign else ())
    progress("tokenizer", 0, "")
    prompts = PromptSet.built_in("compact", options.signals)
    if options.start is None:
        tokenizer = train_tokenizer(list(_corpus(catalogue, prompts, terms)), options.sizes.vocabulary)
        model = new_model(tokenizer, options.sizes, options.seed)
    else:
        model, processor = read_checkpoint(options.start)
        model, tokenizer = model.train(), processor.tokenizer
    encoder = Encoder(tokenizer, prompts, options.sizes)
    teacher = RuleBasedTeacher(signals=options.signals)
    examples = Examples(catalogue, histories, encoder, teacher, terms, options.examples, foreign)
    examples.require_ranking(options.seed)
    row = _row_length(examples, rng)
    examples.options = replace(options.examples, max_tokens=row)
    trainer = Trainer(
        model,
        encoder,
        options.sizes,
        catalogue.pixels,
        learning_rate=options.learning_rate,
        bf16=multiplies_bfloat16() if options.bf16 is None else options.bf16,
        seed=options.seed,
    )
    steps, seconds = _run(trainer, examples, row, options, rng, progress)
    warning = shortfall(steps, seconds, options.needed_steps)
    return Trained(model, encoder, catalogue, options.sizes, steps, seconds / 60, warning)


def shortfall(steps: int, seconds: float, needed: int) -> str:
    """A warning about a run that ended far below the `needed` steps, else ""."""
    if steps >= needed / 2:
        return ""
    return (
        f"{steps} steps of about {needed} that this recipe needs, at {seconds / max(steps, 1):.1f} s each: "
        f"expect a model that has learned little. Train with --steps {needed} instead of --minutes"
    )


def _run(
    trainer: Trainer, examples: Examples, row: int, options: TrainOptions, rng: random.Random, progress: Report
) -> tuple[int, float]:
    """The number of steps, and their seconds."""
    start, step, done, labels = time.monotonic(), 0, 0.0, 0
    recent: list[Losses] = []
    reported = start
    while done < 1:
        prompts = list(draw(examples, options, done, rng))
        recent.append(trainer.step(prompts, row, done))
        labels += sum(len(prompt.labels) for prompt in prompts)
        step += 1
        now = time.monotonic()
        done = step / options.steps if options.steps else (now - start) / (60 * options.minutes)
        if now - reported > _REPORT_EVERY_S or done >= 1:
            note = f"step {step}: {Losses.mean(recent)}, {labels / (now - start):.0f} labels/s"
            progress("training", min(done, 1.0), note)
            recent, reported = [], now
    return step, time.monotonic() - start


def draw(examples: Examples, options: TrainOptions, done: float, rng: random.Random) -> Iterator[PackedPrompt]:
    """Draw the examples of one step: of random users, and descriptions."""
    first = done < options.first_stage
    tokens = 0
    while tokens < options.tokens:
        prompts, ranking = examples.visit(rng, 2 if first else 1)
        if ranking is not None and not first:
            prompts.append(ranking)
        if (first or rng.random() < 0.15) and (matching := examples.match(rng)) is not None:
            prompts.append(matching)
        if examples.can_describe:
            prompts += [examples.describe(rng) for _ in range(4 if first else 2)]
        tokens += sum(prompt.length for prompt in prompts)
        yield from prompts


def _row_length(examples: Examples, rng: random.Random) -> int:
    """The length of the longest of some examples, rounded up to a multiple of 32 and at most `_MAX_ROW`."""
    lengths = [1]
    for _ in range(300):
        folds, ranking = examples.visit(rng, 1)
        lengths += [prompt.length for prompt in (*folds, *([ranking] if ranking else []))]
    return min(_MAX_ROW, -(-max(lengths) // 32) * 32)


def _corpus(catalogue: Catalogue, prompts: PromptSet, terms: TermFinder) -> Iterator[str]:
    """Texts like those of the prompts: every word in the places where it is used."""
    for number, view in enumerate(catalogue.views):
        found = terms.of(view)
        yield prompts.describe(view)
        yield prompts.rank_item(view)
        yield catalogue.captions[number]
        yield render(Summary(found[:6], found[6:]))
        yield f"like: {view.title} | {', '.join(view.genres)}"
    yield from ["none", *(f"{kind}: unknown" for kind in ("like", "dislike", "view", "click")), "summary:"] * 50
    yield from [prompts.rank_user(UserView())] * 50
