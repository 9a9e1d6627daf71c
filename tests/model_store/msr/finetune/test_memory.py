"""A run that does not fit is refused before the weights are loaded."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from model_store.msr.finetune import FinetuneError, memory
from model_store.msr.finetune.base import Base, tensor_sizes
from model_store.msr.finetune.memory import needed_bytes, require_memory
from tests.model_store.msr.finetune.conftest import OPTIONS

BaseOf = Callable[[str], Base]
TOKENS = 300


def test_the_tensors_of_a_checkpoint_are_read_off_its_header(base: BaseOf) -> None:
    sizes = {name: (shape, dtype) for name, shape, dtype in tensor_sizes(base("qwen2.5-vl").folder)}
    assert sizes["lm_head.weight"] == ((513, 64), "F32")


def test_more_is_needed_for_more(base: BaseOf) -> None:
    opened = base("qwen3-vl")
    usual = needed_bytes(opened, OPTIONS, TOKENS, 2)
    weights = 2 * sum(weight.numel() for weight in _parameters(opened))
    assert usual > weights
    assert needed_bytes(opened, OPTIONS, TOKENS, 4) > usual
    for change in ({"batch_size": 16}, {"gradient_checkpointing": False}, {"rank": 64}):
        assert needed_bytes(opened, replace(OPTIONS, **change), TOKENS, 2) > usual
    assert needed_bytes(opened, OPTIONS, 2 * TOKENS, 2) > usual


def _parameters(base: Base) -> list[torch.Tensor]:
    from model_store.msr.finetune.finetune import load

    return list(load(base.folder, bfloat16=False).parameters())


def test_too_little_memory_is_refused_with_the_remedy(base: BaseOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_free_bytes", lambda: 1000)
    options = replace(OPTIONS, gradient_checkpointing=False)
    with pytest.raises(FinetuneError, match=r"free. Use --batch-size 1 .*--gradient-checkpointing.*--no-memory"):
        require_memory(base("qwen3-vl"), options, TOKENS, bfloat16=False)
    assert "free" in require_memory(base("qwen3-vl"), replace(options, check_memory=False), TOKENS, bfloat16=False)


def test_unknown_memory_stops_nobody(base: BaseOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_free_bytes", lambda: None)
    assert "an unknown amount free" in require_memory(base("qwen3-vl"), OPTIONS, TOKENS, bfloat16=False)
