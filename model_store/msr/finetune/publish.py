"""Registers a merged checkpoint as a ranker version."""

import shutil
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from model_store.cooccurrence import Cooccurrence, write_cooccurrence
from model_store.engine.probe import SUMMARIES, TITLES, most_extreme
from model_store.item_models.item_models import ItemModels
from model_store.msr.finetune.merge import Merged
from model_store.msr.finetune.rendering import Renderer
from model_store.msr.finetune.scoring import Scorer
from model_store.msr.finetune.setup import Setup
from model_store.msr.finetune.validation import Validation
from model_store.prompts import PromptSet
from model_store.registry.manifest import Blend, Manifest, Probe, Serving, Training
from model_store.registry.registry import Registry
from model_store.signals import VersionSignals
from model_store.views import ItemView, UserView

_MIN_LENGTH, _LENGTH_UNIT = 2048, 256


def describe_version(
    setup: Setup, name: str, *, version: int, probe: Probe, blend: Blend, training: Training
) -> Manifest:
    """The manifest of a ranker version, without its evaluation and its final number.

    What was trained in float32 is served in it; what was trained in bfloat16, in the checkpoint's own precision.
    """
    base, options = setup.base, setup.options
    return Manifest(
        name=name,
        version=version,
        role="ranker",
        base=base.id,
        prompt_recents=options.recents,
        labels=base.frame.labels,
        probe=probe,
        picture=options.picture,
        blend=blend,
        signals=VersionSignals(**dict(setup.prompts.signals.vocabulary())),
        serving=Serving(
            architecture=base.family.pooling,
            max_model_len=_length(setup.longest, base.config),
            dtype="auto" if setup.bfloat16 else "float32",
        ),
        training=training,
    )


def evaluation(
    validation: Validation, margins: Sequence[float], merged: Merged, apart: Mapping[str, float]
) -> dict[str, Any]:
    """Results for the manifest: AUC in percent, Brier scores 0..1, and how far log-odds are apart."""
    measured, temperature = validation.measure(margins), validation.temperature(margins)
    uncalibrated = measured.pop("brier")
    return {
        "validation_auc": {name: round(100 * value, 2) for name, value in measured.items()},
        "calibration": {
            "brier": round(uncalibrated, 4),
            "temperature": round(temperature, 4),
            "brier_at_temperature": round(validation.brier(margins, temperature), 4),
        },
        "merge": {"changed_tensors": merged.changed, "tensors": merged.tensors},
        "parity": {name: round(value, 6) for name, value in apart.items()},
    }


def register(
    manifest: Manifest,
    prompts: PromptSet,
    weights: Path,
    cooccurrence: Cooccurrence,
    item_models: ItemModels,
    store: Path,
    adapter: Path | None,
) -> Manifest:
    """Copy all files of the version into the store under the next free number, with the adapter if there is one."""
    registry, name = Registry(store), manifest.name
    version = registry.reserve(name)
    counts = f"{name}/{version}/cooccurrence.jsonl"
    write_cooccurrence(cooccurrence, store / counts)
    if adapter is not None:
        shutil.copytree(adapter, store / name / str(version) / "adapter")
    fields = registry.write_item_models(name, version, item_models)
    changed = {"version": version, "cooccurrence": counts, **fields}
    return registry.add(manifest.model_copy(update=changed), prompts.folder, weights)


def make_probe(renderer: Renderer, scorer: Scorer) -> Probe:
    """The pair with the most extreme score."""
    pairs = list(product(SUMMARIES, TITLES))
    return most_extreme(pairs, scorer([renderer(UserView(summary), ItemView(title)) for summary, title in pairs]))


def _length(longest: int, config: Any) -> int:
    """A context that holds prompts twice as long as those of training, within what the base can read."""
    wanted = max(_MIN_LENGTH, -(-2 * longest // _LENGTH_UNIT) * _LENGTH_UNIT)
    return min(wanted, int(config.get_text_config().max_position_embeddings))
