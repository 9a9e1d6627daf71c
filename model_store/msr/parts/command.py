"""`models train-parts`, without its command line: read, train, register."""

import shlex
import sys
from pathlib import Path

from model_store.data.check import require
from model_store.data.dataset import read_dataset
from model_store.evaluate.item_weights import require_item_weight_memory
from model_store.msr.parts.publish import register
from model_store.msr.parts.train import PartsOptions, Run
from model_store.msr.scratch.publish import require_place
from model_store.progress import Report, quiet
from model_store.registry.manifest import Manifest, Training

_NEIGHBOURS = 128


def train_parts(
    data: Path,
    store: Path,
    *,
    name: str,
    llm: Path,
    vision: Path,
    run: Path,
    options: PartsOptions,
    progress: Report = quiet,
) -> Manifest:
    """Train a ranker of the parts on the dataset folder `data`, and register `<name>-ranker` in `store`.

    Args:
        llm, vision: folders that `models fetch-parts` wrote.
        run: the folder of the run's state, from which an interrupted run goes on.

    Raises:
        UserError: data, parts, store or an earlier state of the run can't be used.
    """
    require_place(store, name)
    progress("reading", 0, "")
    dataset = read_dataset(data, options.signals)
    require(dataset, "training")
    require_item_weight_memory(dataset)
    tuned = Run(dataset, llm, vision, run, options, progress).train()
    origin = Training(command=shlex.join(["tastestream", *sys.argv[1:]]), data=data.resolve().name, seed=options.seed)
    manifest = register(
        tuned,
        dataset,
        origin,
        llm=llm,
        vision=vision,
        store=store,
        name=name,
        neighbours=_NEIGHBOURS,
        progress=progress,
    )
    progress("registered", 1, "")
    return manifest
