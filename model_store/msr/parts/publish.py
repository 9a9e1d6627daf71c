"""Merges a trained model of parts, checks the result and registers it as a ranker."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from model_store.cooccurrence import write_cooccurrence
from model_store.data.dataset import HELD_OUT, Dataset
from model_store.evaluate.item_models import learn_item_models
from model_store.evaluate.likes import Likes
from model_store.evaluate.protocol import liked_by
from model_store.msr.parts import lora
from model_store.msr.parts.encoder import FrozenVision, PictureEncoder
from model_store.msr.parts.origin import source_of
from model_store.msr.parts.ranker import PackedRanker
from model_store.msr.parts.train import Tuned
from model_store.msr.scratch.packing import PackedPrompt, Segment
from model_store.msr.scratch.publish import make_probe
from model_store.msr.scratch.validation import validate
from model_store.pictures import PictureSize
from model_store.precision import multiplies_bfloat16
from model_store.progress import Report
from model_store.registry.checkpoint import read_checkpoint
from model_store.registry.manifest import Manifest, PictureTokens, Serving, Training
from model_store.registry.registry import Registry
from model_store.signals import VersionSignals
from model_store.views import UserView

PAIRS = 20
"""Fixed pairs of user and item on which the merged model must equal the one with adapters."""
MERGE_TOLERANCE = 1e-4
"""How far log-odds may differ, in float32."""
_POSITIONS = 2048


class MergeError(RuntimeError):
    """The merged model is not the trained one: a defect of a library, which no user can fix."""


@dataclass(frozen=True, slots=True)
class Merged:
    """The plain language model in a folder, and how many of its tensors training changed."""

    folder: Path
    changed: int
    parameters: int


def merge_into(folder: Path, base: Path, tuned: Tuned) -> Merged:
    """Merge the adapters into the base in float32, and write the result in float16 with its tokenizer.

    Raises:
        MergeError: an adapter got lost, or the merged model answers differently.
    """
    model, tokenizer = lora.load_language_model(base, torch.float32)
    adapted = lora.adapted(model, tuned.options.adapter, tuned.options.seed)
    lora.load_adapters(adapted, tuned.adapters)
    pairs = fixed_pairs(tuned)
    before = _ranker(adapted.get_base_model(), tuned).score(pairs)
    merged, changed = lora.merge(adapted)
    after = _ranker(merged, tuned).score(pairs)
    gap = float((torch.tensor(before) - torch.tensor(after)).abs().max())
    if not gap < MERGE_TOLERANCE:
        raise MergeError(f"the merged model's log-odds differ by {gap:.2g} from those with adapters")
    merged.to(torch.float16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Merged(folder, changed, sum(weight.numel() for weight in merged.parameters()))


def fixed_pairs(tuned: Tuned) -> list[PackedPrompt]:
    """The first items of the catalogue, half of them with their pictures, for two users."""
    views = tuned.scorer.catalogue.views
    items = [number % len(views) for number in range(PAIRS // 2)]
    candidates = tuned.scorer.candidates()
    suffixes = tuple(candidates.segment(number, place % 2 == 0, True) for place, number in enumerate(items))
    users = (UserView(), UserView("Likes drama, comedy. Avoids horror."))
    labels = (0.0,) * len(suffixes)
    return [PackedPrompt(Segment(tuned.encoder.rank_user(user)), suffixes, labels) for user in users]


def register(
    tuned: Tuned,
    dataset: Dataset,
    origin: Training,
    *,
    llm: Path,
    vision: Path,
    store: Path,
    name: str,
    neighbours: int,
    progress: Report,
) -> Manifest:
    """Merge, fit the blend on validation users, and add the ranker under the next free number.

    Args:
        origin: the command, the data and the seed of the training.
        llm: the folder of the language model that was trained.
        vision: the folder of the vision encoder.
        neighbours: co-occurring items kept per item.

    Raises:
        MergeError: see `merge_into`.
    """
    registry, ranker = Registry(store), f"{name}-ranker"
    cooccurrence = Likes(liked_by(dataset, "train")).cooccurrence(neighbours)
    item_models = learn_item_models(dataset, progress)
    with tempfile.TemporaryDirectory() as scratch:
        progress("merging", 0, "")
        merged = merge_into(Path(scratch) / "weights", llm, tuned)
        progress("merging", 1, f"{merged.changed} tensors changed")
        encoder = Path(scratch) / "encoder"
        PictureEncoder(FrozenVision.load(vision), tuned.projector).save(encoder)
        probe = make_probe(tuned.encoder, _served(merged.folder, tuned, torch.float32).rank)
        # In the faster precision: rounding is far below what a fit on so many cases can see.
        scored = torch.bfloat16 if multiplies_bfloat16() else torch.float32
        scorer = tuned.scorer.asking(_served(merged.folder, tuned, scored).score)
        count = tuned.options.blend_cases
        blend, auc = validate(scorer, dataset, cooccurrence, item_models, origin.seed, progress, count)
        version = registry.reserve(ranker)
        counts = f"{ranker}/{version}/cooccurrence.jsonl"
        (store / counts).parent.mkdir(parents=True, exist_ok=True)
        write_cooccurrence(cooccurrence, store / counts)
        prompts = tuned.encoder.prompts
        manifest = Manifest(
            name=ranker,
            version=version,
            role="ranker",
            base=f"{source_of(llm)} and {source_of(vision)}",
            cooccurrence=counts,
            **registry.write_item_models(ranker, version, item_models),
            prompt_recents=prompts.recents,
            labels=tuned.encoder.labels,
            probe=probe,
            picture=PictureSize(tuned.pixels, tuned.pixels),
            picture_tokens=PictureTokens(count=tuned.encoder.count, width=tuned.projector.sizes.width),
            blend=blend,
            signals=VersionSignals(**dict(prompts.signals.vocabulary()), words=prompts.words),
            serving=Serving(
                max_model_len=_POSITIONS,
                dtype="float32",
                architecture=read_checkpoint(merged.folder).scoring_architecture,
            ),
            training=origin.model_copy(
                update={
                    "steps": tuned.state.step,
                    "minutes": round(tuned.state.seconds / 60, 1),
                    "parameters": merged.parameters,
                    "held_out": HELD_OUT,
                }
            ),
            evaluation={"validation_auc": auc} if auc else {},
        )
        return registry.add(manifest, prompts.folder, merged.folder, encoder=encoder)


def _served(folder: Path, tuned: Tuned, dtype: torch.dtype) -> PackedRanker:
    """The written checkpoint, as a server loads it."""
    model, _ = lora.load_language_model(folder, dtype)
    return _ranker(model, tuned, dtype == torch.bfloat16)


def _ranker(model: Any, tuned: Tuned, bf16: bool = False) -> PackedRanker:
    return PackedRanker(model, tuned.projector, tuned.encoder.labels, tuned.features, bf16)
