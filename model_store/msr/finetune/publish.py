"""Registers a merged checkpoint as a ranker version."""

import shutil
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from model_store.blend import sigmoid
from model_store.cooccurrence import Cooccurrence, write_cooccurrence
from model_store.msr.finetune.base import Base
from model_store.msr.finetune.options import FinetuneOptions
from model_store.msr.finetune.rendering import Renderer
from model_store.msr.finetune.scoring import Scorer
from model_store.prompts import PromptSet
from model_store.registry.manifest import Blend, Manifest, Probe, Serving, Training
from model_store.registry.registry import Registry
from model_store.signals import VersionSignals
from model_store.views import ItemView, UserView

_PROBE_SUMMARIES = (
    "This user enjoys jazz, the sea and quiet stories.",
    "This user enjoys comedies set in cities and avoids war.",
)
_PROBE_TITLES = ("The tide of jazz", "War without end", "A city comedy", "Seven")
_MIN_LENGTH, _LENGTH_UNIT = 2048, 256


@dataclass(frozen=True)
class Candidate:
    """A version before it is registered."""

    manifest: Manifest
    prompts: PromptSet
    weights: Path
    cooccurrence: Cooccurrence


def describe_version(
    name: str,
    base: Base,
    prompts: PromptSet,
    options: FinetuneOptions,
    *,
    version: int,
    probe: Probe,
    blend: Blend,
    longest: int,
    training: Training,
    evaluation: dict[str, Any],
    float32: bool,
) -> Manifest:
    """The manifest of a ranker version.

    Args:
        longest: tokens of the longest prompt of training.
        float32: serve in float32, as trained; otherwise in the checkpoint's own precision.
    """
    return Manifest(
        name=name,
        version=version,
        role="ranker",
        base=base.id,
        prompt_recents=options.recents,
        cooccurrence=f"{name}/{version}/cooccurrence.jsonl",
        labels=base.frame.labels,
        probe=probe,
        picture=options.picture,
        blend=blend,
        signals=VersionSignals(**dict(prompts.signals.vocabulary())),
        serving=Serving(
            architecture=base.family.pooling,
            max_model_len=_length(longest, base.config),
            dtype="float32" if float32 else "auto",
        ),
        training=training,
        evaluation=evaluation,
    )


def register(candidate: Candidate, store: Path, adapter: Path | None) -> Manifest:
    """Copy weights, prompts and co-occurrence counts into the store, and the adapter beside them if there is one."""
    manifest = candidate.manifest
    folder = store / manifest.name / str(manifest.version)
    folder.mkdir(parents=True, exist_ok=True)
    write_cooccurrence(candidate.cooccurrence, store / manifest.cooccurrence)
    if adapter is not None:
        shutil.copytree(adapter, folder / "adapter", dirs_exist_ok=True)
    return Registry(store).add(manifest, candidate.prompts.folder, candidate.weights)


def make_probe(renderer: Renderer, scorer: Scorer) -> Probe:
    """The pair with the most extreme score, with which another head is the most likely to disagree."""
    pairs = list(product(_PROBE_SUMMARIES, _PROBE_TITLES))
    margins = scorer([renderer(UserView(summary), ItemView(title)) for summary, title in pairs])
    margin, (summary, title) = max(zip(margins, pairs, strict=True), key=lambda found: abs(found[0]))
    return Probe(summary=summary, title=title, score=round(sigmoid(margin), 6))


def _length(longest: int, config: Any) -> int:
    """A context that holds prompts twice as long as those of training, within what the base can read."""
    wanted = max(_MIN_LENGTH, -(-2 * longest // _LENGTH_UNIT) * _LENGTH_UNIT)
    return min(wanted, int(config.get_text_config().max_position_embeddings))
