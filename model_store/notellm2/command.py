"""`models train-embedder` and `models embed`, without their command lines."""

import shlex
import sys
from pathlib import Path

import numpy as np

from model_store.data.dataset import read_dataset
from model_store.errors import UserError
from model_store.msr.scratch.publish import require_place
from model_store.notellm2.offline import OfflineEmbedder
from model_store.notellm2.options import EmbedderOptions
from model_store.notellm2.publish import register_embedder
from model_store.notellm2.train import EmbedderRun
from model_store.progress import Report, quiet
from model_store.registry.manifest import Manifest, Training
from model_store.registry.registry import Registry


def train_embedder(
    data: Path,
    store: Path,
    *,
    name: str,
    base: str,
    vision: str,
    run: Path,
    options: EmbedderOptions,
    progress: Report = quiet,
) -> Manifest:
    """Train an embedder on the dataset folder `data`, and register `<name>-embedder` in `store`.

    Args:
        base: the folder of a causal language model, or `scratch`.
        vision: the folder of a vision encoder, or `builtin`.
        run: the folder of the run's state, from which an interrupted run goes on.

    Raises:
        UserError: data, base, vision encoder, store or an earlier state of the run can't be used.
    """
    require_place(store, name)
    progress("reading", 0, "")
    dataset = read_dataset(data, options.signals)
    trained = EmbedderRun(dataset, base, vision, run, options, progress).train()
    origin = Training(command=shlex.join(["tastestream", *sys.argv[1:]]), data=data.resolve().name, seed=options.seed)
    manifest = register_embedder(trained, origin, vision=vision, store=store, name=name, progress=progress)
    progress("registered", 1, "")
    return manifest


def embed_dataset(
    data: Path,
    registry: Registry,
    manifest: Manifest,
    out: Path,
    *,
    run: Path,
    words: bool = True,
    picture: bool = True,
    progress: Report = quiet,
) -> int:
    """Write the vectors of a data set's items to `out`, an npz file with `ids` and `vectors`; returns their number.

    Args:
        run: the folder that keeps what the vision encoder sees, as a training's does.
        words, picture: whether the model is shown them.

    Raises:
        UserError: data or version can't be used.
    """
    dataset = read_dataset(data)
    if not words and manifest.picture_tokens is None:
        raise UserError(f"{manifest.id} was trained without pictures: it can't be shown pictures alone")
    if not words and not dataset.has_pictures:
        raise UserError("no item of the data has a picture (`image` in items.jsonl), and words are not shown")
    embedder = OfflineEmbedder.load(registry, manifest)
    ids, vectors = embedder.embed(dataset, run, words=words, picture=picture, progress=progress)
    with (new := out.with_name(f"{out.name}.new")).open("wb") as file:
        np.savez(file, ids=np.array(ids), vectors=vectors)
    new.replace(out)
    return len(ids)
