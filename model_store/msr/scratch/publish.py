"""Registers a trained model as two versions, a ranker and a summarizer, that share its weights."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from model_store.cooccurrence import write_cooccurrence
from model_store.data.dataset import HELD_OUT, Dataset
from model_store.engine.probe import most_extreme
from model_store.evaluate.item_models import learn_item_models
from model_store.evaluate.item_weights import PER_ITEM
from model_store.evaluate.likes import Likes
from model_store.evaluate.protocol import liked_by
from model_store.msr.scratch.architecture import Sizes, write_checkpoint
from model_store.msr.scratch.catalogue import Catalogue
from model_store.msr.scratch.encoding import Encoder
from model_store.msr.scratch.generator import DESCRIPTION_TOKENS, PRESENCE_PENALTY, SUMMARY_TOKENS, Generator
from model_store.msr.scratch.packing import Segment
from model_store.msr.scratch.prompt_encoder import PromptEncoder
from model_store.msr.scratch.scoring import OfflineScorer
from model_store.msr.scratch.validation import validate
from model_store.progress import Report
from model_store.registry.manifest import Labels, Manifest, ManifestError, Probe, Serving, Training
from model_store.registry.registry import Registry
from model_store.signals import VersionSignals
from model_store.views import ItemView, UserView

RANKER_ARCHITECTURE = "Qwen3VLForSequenceClassification"
SUMMARY_OPENING = "Likes "
PROBE_SUMMARIES = ("likes: jazz, sea, red", "likes: comedy, city; dislikes: war")
PROBE_TITLES = ("The tide of jazz", "War without end", "A city comedy", "Seven")
Rank = Callable[[Sequence[Sequence[int]], Sequence[Sequence[Segment]]], list[list[float]]]
"""From encoded users and their candidates to log-odds of yes."""


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
    """A known problem of the training, for the manifest and the user."""

    def generator(self, catalogue: Catalogue | None = None) -> Generator:
        """The model with the pictures of its own or another catalogue."""
        return Generator(self.model, self.encoder, self.sizes, (catalogue or self.catalogue).pixels)


def make_probe(encoder: PromptEncoder, rank: Rank) -> Probe:
    """The pair with the most extreme score."""
    users = [encoder.rank_user(UserView(summary)) for summary in PROBE_SUMMARIES]
    segments = [Segment(encoder.rank_item(ItemView(title))) for title in PROBE_TITLES]
    margins = rank(users, [segments] * len(users))
    return most_extreme(product(PROBE_SUMMARIES, PROBE_TITLES), chain.from_iterable(margins))


def require_place(store: Path, name: str) -> None:
    """Check before hours of training that the model can be registered after them.

    Raises:
        ManifestError: nothing can be registered in `store`, or not by this name.
    """
    try:
        Manifest(name=f"{name}-summarizer", version=1, role="summarizer")
    except ValidationError:
        raise ManifestError(
            f"{name!r} can't be a model's name: use up to 50 lower-case letters, digits, dots, _ and -, "
            "the first a letter or a digit (--name)"
        ) from None
    try:
        store.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=store).close()
    except OSError as error:
        raise ManifestError(f"{store} can't be written: {error.strerror}") from error


def register(
    trained: Trained,
    dataset: Dataset,
    origin: Training,
    *,
    store: Path,
    name: str,
    neighbours: int,
    per_item: int = PER_ITEM,
    progress: Report,
    evaluation: dict[str, Any] | None = None,
) -> tuple[Manifest, Manifest]:
    """Fit the blend, write all files, and add both versions under the next free number.

    Args:
        origin: the command, the data and the seed of the training.
        neighbours: co-occurring items kept per item.
        per_item: item weights kept for an item.
        evaluation: further results for the manifests.

    Returns:
        The manifests of the ranker and of the summarizer.
    """
    cooccurrence = Likes(liked_by(dataset, "train")).cooccurrence(neighbours)
    item_models = learn_item_models(dataset, progress, per_item=per_item)
    generator = trained.generator()
    scorer = OfflineScorer(generator, trained.catalogue, [view.summary for view in trained.catalogue.views])
    blend, auc = validate(scorer, dataset, cooccurrence, item_models, origin.seed, progress)
    registry = Registry(store)
    summarizer, ranker = f"{name}-summarizer", f"{name}-ranker"
    version = registry.reserve(summarizer, ranker)
    prompts = trained.encoder.prompts
    shared: dict[str, Any] = {
        "version": version,
        "base": "from scratch (Qwen3-VL architecture)",
        "picture": trained.sizes.picture,
        "prompt_recents": prompts.recents,
        "signals": VersionSignals(**dict(prompts.signals.vocabulary()), words=prompts.words),
        "training": origin.model_copy(
            update={
                "steps": trained.steps,
                "minutes": round(trained.minutes, 1),
                "parameters": sum(weight.numel() for weight in trained.model.parameters()),
                "held_out": HELD_OUT,
                "warning": trained.warning,
            }
        ),
        "evaluation": {**(evaluation or {}), **({"validation_auc": auc} if auc else {})},
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
            Manifest(name=summarizer, role="summarizer", serving=serving, **shared), prompts.folder, Path(folder)
        )
    counts = f"{ranker}/{version}/cooccurrence.jsonl"
    (store / counts).parent.mkdir(parents=True, exist_ok=True)
    write_cooccurrence(cooccurrence, store / counts)
    ranks = Manifest(
        name=ranker,
        role="ranker",
        weights=f"{summarizer}/{version}/weights",
        cooccurrence=counts,
        **registry.write_item_models(ranker, version, item_models),
        probe=make_probe(generator.encoder, generator.rank),
        labels=Labels(yes_id=trained.encoder.yes_id, no_id=trained.encoder.no_id),
        blend=blend,
        serving=serving.model_copy(update={"architecture": RANKER_ARCHITECTURE}),
        **shared,
    )
    return registry.add(ranks, prompts.folder), written
