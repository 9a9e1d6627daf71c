"""Checkpoints with random weights, for tests of everything around a model: loading, launching, scoring."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from model_store.msr.scratch.architecture import Sizes, new_model, train_tokenizer, write_checkpoint
from model_store.msr.scratch.encoding import Encoder
from model_store.views import ItemView, UserView

SMALL = Sizes(hidden=64, layers=2, heads=2, kv_heads=1, mlp=128, vision_hidden=64, vision_heads=2)


def tiny_qwen3_vl(folder: Path, texts: Iterable[str], sizes: Sizes = SMALL) -> Any:
    """Write a checkpoint with a tokenizer trained on `texts`; returns the model."""
    tokenizer = train_tokenizer(list(texts), sizes.vocabulary)
    model = new_model(tokenizer, sizes, seed=0)
    write_checkpoint(folder, model, tokenizer, sizes, torch.float32)
    return model


def ranking_prompt(encoder: Encoder, user: UserView, item: ItemView) -> list[int]:
    """Ids of the whole ranking prompt, rendered as one text."""
    picture = encoder._picture if item.image is not None else ""
    return encoder._ids(encoder._score(encoder.prompts.rank_user(user), picture + encoder.prompts.rank_item(item)))
