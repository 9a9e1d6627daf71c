"""Merges a trained embedder, checks the written checkpoint and registers it."""

import tempfile
from pathlib import Path
from typing import Any

import torch

from model_store.data.dataset import HELD_OUT
from model_store.msr.parts import lora
from model_store.msr.parts.origin import source_of
from model_store.msr.parts.publish import MergeError
from model_store.notellm2.encoder import FeatureEncoder
from model_store.notellm2.offline import OfflineEmbedder
from model_store.notellm2.tokens import READ
from model_store.notellm2.train import TrainedEmbedder
from model_store.pictures import PictureSize
from model_store.progress import Report
from model_store.registry.checkpoint import read_checkpoint
from model_store.registry.manifest import Embedding, Manifest, PictureTokens, Serving, Training
from model_store.registry.registry import Registry

_POSITIONS = 1024
_CHECKED = 8
TOLERANCE = 2e-2
"""How far a cosine may be from 1 between the trained weights and the written ones, which have half the precision."""


def register_embedder(
    trained: TrainedEmbedder, origin: Training, *, vision: str, store: Path, name: str, progress: Report
) -> Manifest:
    """Add `<name>-embedder` under the next free number.

    Args:
        origin: the command, the data and the seed of the training.
        vision: as the training was given it.

    Raises:
        MergeError: the written model makes other vectors.
    """
    registry, family = Registry(store), f"{name}-embedder"
    with tempfile.TemporaryDirectory() as scratch:
        progress("merging", 0, "")
        weights, parameters = _write_weights(trained, Path(scratch) / "weights")
        encoder = None
        if trained.vision is not None:
            encoder = Path(scratch) / "encoder"
            FeatureEncoder(trained.vision, trained.model.connector).save(encoder)
        require_same(trained, weights)
        progress("merging", 1, "the written model makes the same vectors")
        positions = read_checkpoint(weights).positions
        version = registry.reserve(family)
        seen = "" if trained.vision is None else f" and {vision if vision == 'builtin' else source_of(Path(vision))}"
        manifest = Manifest(
            name=family,
            version=version,
            role="embedder",
            base=trained.origin + seen,
            **registry.write_head(family, version, trained.model.head()),
            embedding=Embedding(
                dimensions=trained.options.dimensions, read_token=READ, read_token_id=trained.tokens.read_id
            ),
            picture=_size(trained),
            picture_tokens=_tokens(trained),
            serving=Serving(max_model_len=min(_POSITIONS, positions or _POSITIONS), dtype="float32"),
            training=origin.model_copy(
                update={
                    "steps": trained.state.step,
                    "minutes": round(trained.state.seconds / 60, 1),
                    "parameters": parameters,
                    "held_out": HELD_OUT,
                }
            ),
            evaluation={"validation": {name: round(value, 4) for name, value in trained.measured.items()}},
        )
        return registry.add(manifest, trained.tokens.prompts.folder, weights, encoder=encoder)


def require_same(trained: TrainedEmbedder, weights: Path) -> None:
    """Check that the written language model gives the vectors of the trained one.

    Raises:
        MergeError: it does not.
    """
    llm, _ = lora.load_language_model(weights, torch.float32, "sdpa")
    written = OfflineEmbedder.of_parts(llm, trained)
    numbers = list(range(min(_CHECKED, len(trained.items))))
    batch, seen = trained.items.batch(numbers, [True] * len(numbers))
    with torch.inference_mode():
        gap = float((1 - (trained.model.float()(batch, seen).whole * written.model(batch, seen).whole).sum(-1)).max())
    if not gap < TOLERANCE:
        raise MergeError(f"the written model's vectors differ from those of the training by a cosine of {gap:.2g}")


def _write_weights(trained: TrainedEmbedder, folder: Path) -> tuple[Path, int]:
    llm: Any = trained.model.llm
    if trained.adapted:
        # In float32, from the adapters: the base may have been loaded in half precision.
        llm = lora.merged_copy(llm)
    parameters = sum(weight.numel() for weight in llm.parameters())
    half = {name: weight.detach().to(torch.float16) for name, weight in llm.state_dict().items()}
    llm.save_pretrained(folder, state_dict=half)
    trained.tokens.tokenizer.save_pretrained(folder)
    return folder, parameters


def _tokens(trained: TrainedEmbedder) -> PictureTokens | None:
    if trained.vision is None:
        return None
    sizes = trained.model.connector.sizes
    return PictureTokens(count=sizes.queries, width=sizes.width, feature=True)


def _size(trained: TrainedEmbedder) -> PictureSize:
    side = trained.vision.side if trained.vision else PictureSize().width
    return PictureSize(side, side)
