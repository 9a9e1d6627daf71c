"""`make demo-model`: the demo world from its seed, the model trained on it, and its evaluation.

`python -m model_store.demo.build` rewrites `models/` in this folder.
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
from model_store.msr.scratch.architecture import Sizes, write_checkpoint
from model_store.msr.scratch.examples import ExampleOptions
from model_store.msr.scratch.foreign import ForeignItems
from model_store.msr.scratch.publish import Trained, register
from model_store.msr.scratch.train import TrainOptions, fit
from model_store.progress import Report, stages
from model_store.registry.manifest import Training

NAME = "demo"
USERS, UNSEEN_ITEMS = 4000, 300
FOREIGN_NAMES = 400
STEPS = 3300
FOREIGN_STEPS, FOREIGN_SHARE, FOREIGN_LEARNING_RATE = 500, 0.2, 5e-4
"""The second phase, with a share of items from outside the world, after which the model no longer recites its words."""
COMMAND = "python -m model_store.demo.build"
NEIGHBOURS, PER_ITEM = 20, 50
"""Few, since the demo's files are part of the repository."""


def build(
    models: Path,
    *,
    steps: int,
    minutes: float | None,
    seed: int,
    users: int,
    foreign_steps: int,
    start: Path | None,
    progress: Report,
) -> DemoReport:
    """Write version 1 of `demo-ranker` and `demo-summarizer` into the model store `models`, replacing earlier ones.

    Args:
        steps: the length of the first phase; world and evaluation take about five more minutes on two cores.
        minutes: if given, the time of the first phase instead of `steps`.
        foreign_steps: the length of the second phase, 0 for none.
        start: the weights of an earlier build, instead of the first phase.
    """
    first = TrainOptions(
        minutes=minutes or 0.0,
        steps=None if minutes else steps,
        seed=seed,
        sizes=Sizes(vocabulary=2048),
        examples=ExampleOptions(candidates=8, positives=4, horizon=8),
    )
    second = replace(
        first,
        minutes=0.0,
        steps=foreign_steps,
        examples=replace(first.examples, foreign=FOREIGN_SHARE),
        foreign=ForeignItems.create(str(seed), outside.TRAINED, FOREIGN_NAMES),
        learning_rate=FOREIGN_LEARNING_RATE,
        first_stage=0.0,
        needed_steps=foreign_steps,
    )
    length = f"--start {start.name}" if start else f"--minutes {minutes:g}" if minutes else f"--steps {steps}"
    origin = Training(
        command=f"{COMMAND} {length} --foreign-steps {foreign_steps}",
        data=f"demo world: seed {seed}, {ITEMS} items, {users} users",
        seed=seed,
    )
    with tempfile.TemporaryDirectory() as folder:
        world, elsewhere, store = (Path(folder) / name for name in ("world", "elsewhere", "models"))
        progress("drawing the world", 0, "")
        generate(world, seed=seed, items=ITEMS, users=users)
        generate(elsewhere, seed=seed + 1, items=UNSEEN_ITEMS, users=1)
        dataset = read_dataset(world)
        trained = _train(dataset, first, second, start, Path(folder) / "first", progress)
        truth = read_truth(world, make_items(ITEMS, seed))
        measured = report(trained, dataset, truth, read_dataset(elsewhere), progress)
        register(
            trained,
            dataset,
            origin,
            store=store,
            name=NAME,
            neighbours=NEIGHBOURS,
            per_item=PER_ITEM,
            progress=progress,
            evaluation=measured.summary(),
        )
        for built in store.iterdir():
            shutil.rmtree(models / built.name, ignore_errors=True)
            shutil.copytree(built, models / built.name)
    return measured


def _train(
    dataset: Dataset, first: TrainOptions, second: TrainOptions, start: Path | None, scratch: Path, progress: Report
) -> Trained:
    """Both phases, or only the second from the weights in `start`; `scratch` is for the weights between them."""
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
    parser = argparse.ArgumentParser(description="Rebuild the demo model.")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, default=STEPS, help="steps of the training, the same on every machine")
    length.add_argument("--minutes", type=float, help="time of the training, instead of its steps")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--users", type=int, default=USERS)
    parser.add_argument("--foreign-steps", type=int, default=FOREIGN_STEPS, help="steps with items from outside")
    parser.add_argument("--start", type=Path, help="weights folder of an earlier build, instead of the first phase")
    parser.add_argument("--models", type=Path, default=MODELS, help="the model store to write")
    arguments = parser.parse_args()
    if arguments.start and arguments.foreign_steps < 1:
        parser.error("--start continues a training: give at least one of --foreign-steps")
    console = Console()
    with stages() as progress:
        built = build(**vars(arguments), progress=progress)
    console.print(str(built), highlight=False)
    if built.warning:
        console.print(f"[bold red]warning:[/] {escape(built.warning)}")


if __name__ == "__main__":
    main()
