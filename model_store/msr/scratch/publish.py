"""Turns a trained model into two registered versions, a ranker and a summarizer, that share its weights."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from model_store.blend import sigmoid
from model_store.cooccurrence import Cooccurrence, write_cooccurrence
from model_store.data.dataset import HELD_OUT
from model_store.msr.scratch.architecture import Sizes, write_checkpoint
from model_store.msr.scratch.catalogue import Catalogue
from model_store.msr.scratch.encoding import Encoder
from model_store.msr.scratch.generator import PRESENCE_PENALTY, Writer
from model_store.msr.scratch.packing import Segment
from model_store.msr.scratch.validation import Validation
from model_store.registry.manifest import Blend, Labels, Manifest, ManifestError, Probe, Serving, Training
from model_store.registry.registry import Registry
from model_store.signals import VersionSignals
from model_store.views import ItemView, UserView

RANKER_ARCHITECTURE = "Qwen3VLForSequenceClassification"
SUMMARY_OPENING = "Likes "
SUMMARY_TOKENS, DESCRIPTION_TOKENS = 96, 24
PROBE_SUMMARIES = ("likes: jazz, sea, red", "likes: comedy, city; dislikes: war")
PROBE_TITLES = ("The tide of jazz", "War without end", "A city comedy", "Seven")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a version came from, for its manifest: the command, the data set's name and the seed."""

    command: str
    data: str
    seed: int


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model before it is registered."""

    model: Any
    encoder: Encoder
    catalogue: Catalogue
    sizes: Sizes
    steps: int
    minutes: float
    warning: str = ""
    """What is wrong with the training, for the manifest and whoever started it."""

    def writer(self) -> Writer:
        """The model, asked about its own catalogue."""
        return self.writer_of(self.catalogue)

    def writer_of(self, catalogue: Catalogue) -> Writer:
        """The model, asked about the pictures of another catalogue."""
        return Writer(self.model, self.encoder, self.sizes, catalogue.pixels)


def make_probe(model: Any, encoder: Encoder, sizes: Sizes) -> Probe:
    """The most decided of some pairs: the clearer a score, the surer is another head found out."""
    writer = Writer(model, encoder, sizes, np.zeros((0, sizes.picture.height, sizes.picture.width, 3), np.uint8))
    users = [encoder.rank_user(UserView(summary)) for summary in PROBE_SUMMARIES]
    segments = [Segment(encoder.rank_item(ItemView(title))) for title in PROBE_TITLES]
    margins = writer.rank(users, [segments] * len(users))
    pairs = [(summary, title) for summary in PROBE_SUMMARIES for title in PROBE_TITLES]
    flat = [margin for row in margins for margin in row]
    place = max(range(len(flat)), key=lambda one: abs(flat[one]))
    summary, title = pairs[place]
    return Probe(summary=summary, title=title, score=round(sigmoid(flat[place]), 6))


def require_place(store: Path, name: str) -> None:
    """Find out before hours of training what would fail behind them.

    Raises:
        ManifestError: nothing can be registered in `store`, or not by this name.
    """
    try:
        Manifest(name=f"{name}-summarizer", version=1, role="summarizer")
    except ValidationError:
        raise ManifestError(
            f"{name!r} can't be a model's name: take up to 50 small letters, digits, dots, _ and -, "
            "the first a letter or a digit (--name)"
        ) from None
    try:
        store.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=store).close()
    except OSError as error:
        raise ManifestError(f"{store} can't be written: {error.strerror}") from error


def register(
    trained: Trained,
    cooccurrence: Cooccurrence,
    found: Validation | None,
    origin: Origin,
    *,
    store: Path,
    name: str,
    evaluation: dict[str, Any] | None = None,
) -> tuple[Manifest, Manifest]:
    """Write weights, prompts and co-occurrence counts, and add both versions under the next free number."""
    registry = Registry(store)
    summarizer, ranker = f"{name}-summarizer", f"{name}-ranker"
    version = max(registry.next_version(summarizer), registry.next_version(ranker))
    prompts = trained.encoder.prompts
    shared: dict[str, Any] = {
        "version": version,
        "base": "from scratch (Qwen3-VL architecture)",
        "picture": trained.sizes.picture,
        "prompt_recents": prompts.recents,
        "signals": VersionSignals(**dict(prompts.signals.vocabulary()), words=prompts.words),
        "training": Training(
            command=origin.command,
            data=origin.data,
            seed=origin.seed,
            steps=trained.steps,
            minutes=round(trained.minutes, 1),
            parameters=sum(weight.numel() for weight in trained.model.parameters()),
            held_out=HELD_OUT,
            warning=trained.warning,
        ),
        "evaluation": {**(evaluation or {}), **({"validation_auc": found.auc} if found else {})},
    }
    serving = Serving(
        max_model_len=trained.sizes.positions,
        dtype="float32",
        max_summary_tokens=SUMMARY_TOKENS,
        max_description_tokens=DESCRIPTION_TOKENS,
        presence_penalty=PRESENCE_PENALTY,
        summary_opening=SUMMARY_OPENING,
    )
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(Path(folder), trained.model, trained.encoder.tokenizer, trained.sizes, torch.float16)
        written = registry.add(
            Manifest(name=summarizer, role="summarizer", serving=serving, **shared),
            trained.encoder.prompts.folder,
            Path(folder),
        )
    counts = f"{ranker}/{version}/cooccurrence.jsonl"
    (store / counts).parent.mkdir(parents=True, exist_ok=True)
    write_cooccurrence(cooccurrence, store / counts)
    ranks = Manifest(
        name=ranker,
        role="ranker",
        weights=f"{summarizer}/{version}/weights",
        cooccurrence=counts,
        probe=make_probe(trained.model, trained.encoder, trained.sizes),
        labels=Labels(yes_id=trained.encoder.yes_id, no_id=trained.encoder.no_id),
        blend=found.blend if found else Blend(),
        serving=serving.model_copy(update={"architecture": RANKER_ARCHITECTURE}),
        **shared,
    )
    return registry.add(ranks, trained.encoder.prompts.folder), written
