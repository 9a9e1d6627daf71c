"""Soft tokens as an encoder stores them."""

import io
from typing import Any

import torch


def saved(tensor: Any) -> bytes:
    """What `torch.save` writes for `tensor`."""
    out = io.BytesIO()
    torch.save(tensor, out)
    return out.getvalue()


def soft_tokens(count: int = 2, width: int = 4, seed: int = 0) -> bytes:
    """Random ones, with the spread of a model's embeddings."""
    return saved(0.12 * torch.randn(count, width, generator=torch.Generator().manual_seed(seed)))
