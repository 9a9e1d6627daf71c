"""`make demo-model`: the demo world from its seed, the model trained on it, and what it can do.

`python -m model_store.demo.build` writes `models/` beside this file anew.
"""

import argparse
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.markup import escape

from model_store.data.dataset import Dataset, read_dataset
from model_store.demo import ITEMS, MODELS, SEED, outside
from model_store.demo.report import DemoReport, report
from model_store.demo.truth import read_truth
from model_store.demo.world import generate, make_items
from model_store.evaluate.likes import Likes
from model_store.evaluate.protocol import liked_by
from model_store.msr.scratch.architecture import Sizes, write_checkpoint
from model_store.msr.scratch.examples import ExampleOptions
from model_store.msr.scratch.foreign import ForeignItems
from model_store.msr.scratch.publish import Origin, Trained, register
from model_store.msr.scratch.scoring import Examiner
from model_store.msr.scratch.train import Progress, Report, TrainOptions, fit
from model_store.msr.scratch.validation import validate
from model_store.progress import stages

NAME = "demo"
USERS, UNSEEN_ITEMS = 4000, 300
FOREIGN_NAMES = 400
STEPS = 3300
FOREIGN_STEPS, FOREIGN_SHARE, FOREIGN_LEARNING_RATE = 500, 0.2, 5e-4
"""The second phase: with a share of items from outside the world, after which it no longer recites its own words."""
COMMAND = "python -m model_store.demo.build"
NEIGHBOURS = 20


def build(
    models: Path,
    *,
    steps: int = STEPS,
    minutes: float | None = None,
    seed: int = SEED,
    users: int = USERS,
    foreign_steps: int = FOREIGN_STEPS,
    start: Path | None = None,
    progress: Report = lambda told: None,
) -> DemoReport:
    """Write version 1 of `demo-ranker` and `demo-summarizer` into the model store `models`, replacing what it holds.

    Args:
        steps: the length of the first phase; world and evaluation take about five more minutes on two cores.
        minutes: when given, the time of the first phase in place of `steps`.
        foreign_steps: the length of the second phase, 0 for none.
        start: the weights of an earlier build, in place of the first phase.
    """
    first = TrainOptions(
        minutes=minutes or 0.0,
        steps=None if minutes else steps,
        seed=seed,
        sizes=Sizes(vocabulary=2048),
        examples=ExampleOptions(candidates=8, positives=4, horizon=8),
        neighbours=NEIGHBOURS,
    )
    second = replace(
        first,
        minutes=0.0,
        steps=foreign_steps,
        examples=replace(first.examples, foreign=FOREIGN_SHARE),
        foreign=ForeignItems.make(str(seed), outside.TRAINED, FOREIGN_NAMES),
        learning_rate=FOREIGN_LEARNING_RATE,
        first_stage=0.0,
        needed_steps=foreign_steps,
    )
    length = f"--start {start.name}" if start else f"--minutes {minutes:g}" if minutes else f"--steps {steps}"
    command = f"{COMMAND} {length} --foreign-steps {foreign_steps}"
    with tempfile.TemporaryDirectory() as folder:
        world, elsewhere, store = (Path(folder) / name for name in ("world", "elsewhere", "models"))
        progress(Progress("drawing the world", 0))
        generate(world, seed=seed, items=ITEMS, users=users)
        generate(elsewhere, seed=seed + 1, items=UNSEEN_ITEMS, users=1)
        dataset = read_dataset(world)
        trained = _train(dataset, first, second, start, Path(folder) / "first", progress)
        cooccurrence = Likes(liked_by(dataset, "train")).cooccurrence(first.neighbours)
        examiner = Examiner(trained.writer(), trained.catalogue, trained.catalogue.captions)
        found = validate(
            examiner, dataset, cooccurrence, seed, lambda done, total: progress(Progress("validating", done / total))
        )
        measured = report(
            trained,
            dataset,
            read_truth(world, make_items(ITEMS, seed)),
            read_dataset(elsewhere),
            lambda stage, done: progress(Progress(stage, done)),
        )
        origin = Origin(command, f"demo world: seed {seed}, {ITEMS} items, {users} users", seed)
        register(trained, cooccurrence, found, origin, store=store, name=NAME, evaluation=measured.summary())
        shutil.rmtree(models, ignore_errors=True)
        shutil.copytree(store, models)
    return measured


def _train(
    dataset: Dataset, first: TrainOptions, second: TrainOptions, start: Path | None, scratch: Path, progress: Report
) -> Trained:
    """Both phases, or the second alone from the weights in `start`; `scratch` is for what passes between them."""
    earlier = None
    if start is None:
        earlier = fit(dataset, first, progress)
        if not second.steps:
            return earlier
        write_checkpoint(scratch, earlier.model, earlier.encoder.tokenizer, earlier.sizes, torch.float32)
    trained = fit(dataset, replace(second, start=start or scratch), progress)
    if earlier is None:
        return trained
    return replace(
        trained,
        steps=earlier.steps + trained.steps,
        minutes=earlier.minutes + trained.minutes,
        warning=earlier.warning,
    )


def main() -> None:
    """Parse the command line, build with a progress bar, and print the evaluation."""
    arguments = argparse.ArgumentParser(description="Rebuild the demo model.")
    length = arguments.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, default=STEPS, help="length of the training, the same on every machine")
    length.add_argument("--minutes", type=float, help="time of the training, in place of its steps")
    arguments.add_argument("--seed", type=int, default=SEED)
    arguments.add_argument("--users", type=int, default=USERS)
    arguments.add_argument("--foreign-steps", type=int, default=FOREIGN_STEPS, help="steps with items from outside")
    arguments.add_argument("--start", type=Path, help="weights folder of an earlier build, in place of the first phase")
    arguments.add_argument("--models", type=Path, default=MODELS, help="the model store to write")
    given = arguments.parse_args()
    if given.start and given.foreign_steps < 1:
        arguments.error("--start continues a training: give at least one of --foreign-steps")
    console = Console()
    with stages() as tell:
        built = build(
            given.models,
            steps=given.steps,
            minutes=given.minutes,
            seed=given.seed,
            users=given.users,
            foreign_steps=given.foreign_steps,
            start=given.start,
            progress=lambda told: tell(told.stage, told.done, told.note),
        )
    console.print(str(built), highlight=False)
    if built.warning:
        console.print(f"[bold red]warning:[/] {escape(built.warning)}")


if __name__ == "__main__":
    main()
