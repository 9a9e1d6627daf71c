"""`make demo-embedder`: the embedder of the demo world, trained from its seed.

`python -m model_store.demo.embedder` rewrites `models/demo-embedder` in this folder. The report says how many of the
four attributes of the world the nearest items of an item share with it; the model never sees the attributes.
"""

import argparse
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from model_store.data.dataset import Dataset, read_dataset
from model_store.demo import ITEMS, MODELS, SEED
from model_store.demo.world import generate, make_items
from model_store.embedder_head import Floats
from model_store.notellm2.base import SCRATCH, ScratchSizes
from model_store.notellm2.items import Items, embed_all
from model_store.notellm2.options import EmbedderOptions
from model_store.notellm2.publish import register_embedder
from model_store.notellm2.train import EmbedderRun, TrainedEmbedder
from model_store.notellm2.vision import BUILTIN
from model_store.progress import Report, stages
from model_store.registry.manifest import Training

USERS, STEPS = 4000, 400
UNSEEN_ITEMS = 300
NEAREST = 10
COMMAND = "python -m model_store.demo.embedder"
_NAME = "demo"


def build(models: Path, *, steps: int, seed: int, users: int, progress: Report) -> dict[str, float]:
    """Write `demo-embedder@1` into the model store `models`, replacing an earlier one; returns the report."""
    options = EmbedderOptions(
        steps=steps,
        seed=seed,
        queries=4,
        inner=96,
        connector_layers=1,
        scratch=ScratchSizes(hidden=128, heads=2, mlp=384, positions=512),
        llm_rate=1e-3,
        top_pairs=30,
        window=20,
        discount=0.0,
        drop_picture=0.1,
        validations=5,
    )
    origin = Training(
        command=f"{COMMAND} --steps {steps}",
        data=f"demo world: seed {seed}, {ITEMS} items, {users} users",
        seed=seed,
    )
    with tempfile.TemporaryDirectory() as folder:
        world, elsewhere, store, run = (Path(folder) / name for name in ("world", "elsewhere", "models", "run"))
        progress("drawing the world", 0, "")
        generate(world, seed=seed, items=ITEMS, users=users)
        generate(elsewhere, seed=seed + 1, items=UNSEEN_ITEMS, users=1)
        dataset = read_dataset(world)
        trained = EmbedderRun(dataset, SCRATCH, BUILTIN, run, options, progress).train()
        measured = report(trained, read_dataset(elsewhere), seed + 1)
        manifest = register_embedder(trained, origin, vision=BUILTIN, store=store, name=_NAME, progress=progress)
        target = models / manifest.name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(store / manifest.name, target)
    return measured


def report(trained: TrainedEmbedder, unseen: Dataset, seed: int) -> dict[str, float]:
    """How many attributes, on average, the nearest items of an item share with it; of items of another world."""
    from model_store.msr.scratch.catalogue import Catalogue
    from model_store.pictures import PictureSize

    catalogue = Catalogue(unseen, PictureSize())
    assert trained.vision is not None  # noqa: S101 - the demo's has one
    seen = trained.vision.encode([path.read_bytes() for path in catalogue.images])
    items = Items(catalogue, trained.tokens, seen)
    truth = {item.item_id: item.attributes for item in make_items(len(catalogue.ids), seed)}
    attributes = [truth[item_id] for item_id in catalogue.ids]
    found = {"at random": shared(attributes, None)}
    with torch.inference_mode():
        for name, words, picture in (("both", True, True), ("words", True, False), ("picture", False, True)):
            vectors = embed_all(
                lambda numbers, shown, words=words: trained.model(*items.batch(numbers, shown, words=words)),
                items,
                range(len(items)),
                words=words,
                picture=picture,
            )
            found[name] = shared(attributes, np.asarray(vectors.numpy()))
    return found


def shared(attributes: Sequence[Mapping[str, str]], vectors: Floats | None) -> float:
    """The mean number of attributes that the nearest items share with an item; of all items without vectors."""
    names = list(attributes[0])
    values = np.array([[one[name] for name in names] for one in attributes])
    same = (values[:, None] == values[None]).sum(-1)
    if vectors is None:
        return float((same.sum() - len(values) * len(names)) / (len(values) * (len(values) - 1)))
    near = vectors @ vectors.T
    np.fill_diagonal(near, -np.inf)
    best = np.argsort(-near, axis=1)[:, :NEAREST]
    return float(np.take_along_axis(same, best, axis=1).mean())


def main() -> None:
    """Parse the command line, build with a progress bar, and print the report."""
    parser = argparse.ArgumentParser(description="Rebuild the demo's embedder.")
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of the training, the same on every machine")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--users", type=int, default=USERS)
    parser.add_argument("--models", type=Path, default=MODELS, help="the model store to write")
    arguments = parser.parse_args()
    with stages() as progress:
        measured = build(**vars(arguments), progress=progress)
    console = Console()
    console.print(f"attributes (of 4) that the {NEAREST} nearest of {UNSEEN_ITEMS} unseen items share:")
    for name, value in measured.items():
        console.print(f"  {name}: {value:.2f}", highlight=False)


if __name__ == "__main__":
    main()
