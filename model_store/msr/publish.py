"""Turns a trained model into two registered versions, a ranker and a summarizer, that share its weights."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from model_store.dataset import HELD_OUT
from model_store.evaluate.evidence import Evidence, write_evidence
from model_store.manifest import Blend, Labels, Manifest, ManifestError, Serving, Training
from model_store.msr.architecture import Sizes, write_checkpoint
from model_store.msr.catalogue import Catalogue
from model_store.msr.encoding import Encoder
from model_store.msr.validation import Validation
from model_store.msr.writer import PRESENCE_PENALTY, Writer
from model_store.registry import Registry
from model_store.signals import VersionSignals

RANKER_ARCHITECTURE = "Qwen3VLForSequenceClassification"
SUMMARY_TOKENS, DESCRIPTION_TOKENS = 96, 24


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
    evidence: Evidence,
    found: Validation | None,
    origin: Origin,
    *,
    store: Path,
    name: str,
    evaluation: dict[str, Any] | None = None,
) -> tuple[Manifest, Manifest]:
    """Write weights, prompts and evidence, and add both versions under the next free number."""
    registry = Registry(store)
    summarizer, ranker = f"{name}-summarizer", f"{name}-ranker"
    version = max(registry.next_version(summarizer), registry.next_version(ranker))
    prompts = trained.encoder.prompts
    shared: dict[str, Any] = {
        "version": version,
        "base": "from scratch (Qwen3-VL architecture)",
        "picture": trained.sizes.picture,
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
    )
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(Path(folder), trained.model, trained.encoder.tokenizer, trained.sizes, torch.float16)
        written = registry.add(
            Manifest(name=summarizer, role="summarizer", serving=serving, **shared),
            trained.encoder.prompts.folder,
            Path(folder),
        )
    counts = f"{ranker}/{version}/evidence.jsonl"
    (store / counts).parent.mkdir(parents=True, exist_ok=True)
    write_evidence(evidence, store / counts)
    ranks = Manifest(
        name=ranker,
        role="ranker",
        weights=f"{summarizer}/{version}/weights",
        evidence=counts,
        labels=Labels(yes_id=trained.encoder.yes_id, no_id=trained.encoder.no_id),
        blend=found.blend if found else Blend(),
        serving=serving.model_copy(update={"architecture": RANKER_ARCHITECTURE}),
        **shared,
    )
    return registry.add(ranks, trained.encoder.prompts.folder), written
