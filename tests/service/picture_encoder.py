"""A tiny picture encoder, and a version of a text ranker that has it."""

from pathlib import Path

import torch

from model_store.msr.parts.efficientnet import EfficientNetLite, Stage, VisionSizes
from model_store.msr.parts.encoder import FrozenVision, PictureEncoder, Projector, ProjectorSizes
from model_store.prompts import BUILT_IN
from model_store.registry.manifest import Labels, Manifest, PictureTokens
from model_store.registry.registry import Registry

SHAPE = PictureTokens(count=2, width=8)


def tiny_encoder() -> PictureEncoder:
    torch.manual_seed(0)
    stages = (Stage(1, 8, 1, 1, 3), Stage(4, 12, 2, 2, 5))
    sizes = VisionSizes(stem=8, stages=stages, features=24, picture=32)
    projector = Projector(24, ProjectorSizes(1, 2, SHAPE.width), 0.1)
    return PictureEncoder(FrozenVision(EfficientNetLite(sizes)), projector)


def add_text_ranker(folder: Path, store: Path, shape: PictureTokens | None = SHAPE, number: int = 1) -> str:
    """Register `text@<number>`, whose weights are no model, and return its id. `folder` is for its files."""
    weights = folder / f"weights{number}"
    weights.mkdir(parents=True)
    (weights / "config.json").write_text("{}")
    tiny_encoder().save(folder / "encoder")
    manifest = Manifest(
        name="text", version=number, role="ranker", labels=Labels(yes_id=1, no_id=2), picture_tokens=shape
    )
    encoder = folder / "encoder" if shape else None
    return Registry(store).add(manifest, BUILT_IN / "default", weights, encoder=encoder).id
