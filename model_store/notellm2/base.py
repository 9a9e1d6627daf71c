"""The language model that an embedder starts with: a pretrained one with adapters, or a small new one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from model_store.errors import UserError
from model_store.msr.parts import lora
from model_store.msr.parts.origin import source_of
from model_store.msr.scratch.architecture import train_tokenizer
from model_store.notellm2.tokens import CHAT_TEMPLATE, READ, add_read_token

SCRATCH = "scratch"
"""Instead of the folder of a pretrained model."""


@dataclass(frozen=True, slots=True)
class ScratchSizes:
    """A small decoder of Qwen3's architecture; `vocabulary` counts all tokens but `READ`."""

    vocabulary: int = 2048
    hidden: int = 192
    layers: int = 4
    heads: int = 3
    kv_heads: int = 1
    head_dim: int = 64
    mlp: int = 512
    positions: int = 1024


@dataclass(frozen=True, slots=True)
class Base:
    """A model to train, its tokenizer with `READ`, and what its manifest says about the origin."""

    model: Any
    tokenizer: Any
    origin: str
    adapted: bool


def open_base(
    where: str,
    texts: Sequence[str],
    *,
    sizes: ScratchSizes,
    adapter: lora.LoraSizes | None,
    layers: int,
    bf16: bool,
    seed: int,
) -> Base:
    """Load or make the language model.

    Args:
        where: the folder of a causal language model, or `SCRATCH`.
        texts: for the tokenizer of a new model.
        adapter: trains LoRA adapters of a pretrained model; None trains all of it.
        layers: keep only so many of the first layers of a pretrained model; 0 keeps all.

    Raises:
        LanguageModelError: the folder has none.
    """
    torch.manual_seed(seed)
    if where == SCRATCH:
        return _new(texts, sizes)
    folder = Path(where)
    # Weights that are trained stay in float32.
    dtype = torch.bfloat16 if bf16 and adapter else torch.float32
    # The prompts are short: PyTorch's fused attention takes a third longer for a step on CPUs.
    model, tokenizer = lora.load_language_model(folder, dtype, "eager")
    keep_layers(model, layers)
    add_read_token(tokenizer, model)
    if adapter is None:
        return Base(model.requires_grad_(True), tokenizer, source_of(folder), adapted=False)
    return Base(lora.adapted(model, adapter, seed), tokenizer, source_of(folder), adapted=True)


def load_embedder_llm(folder: Path, dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    """(model, tokenizer) of a version's weights.

    Raises:
        LanguageModelError: the folder has none.
    """
    return lora.load_language_model(folder, dtype, "sdpa")


def keep_layers(model: Any, layers: int) -> None:
    """Cut a model to its first layers, in place.

    Raises:
        UserError: it has fewer.
    """
    count = model.config.num_hidden_layers
    if layers > count:
        raise UserError(f"the language model has {count} layers, not {layers}: choose fewer with --layers")
    if layers:
        model.model.layers = model.model.layers[:layers]
        model.config.num_hidden_layers = layers
        if getattr(model.config, "layer_types", None):
            model.config.layer_types = model.config.layer_types[:layers]


def _new(texts: Sequence[str], sizes: ScratchSizes) -> Base:
    tokenizer = train_tokenizer(texts, sizes.vocabulary)
    tokenizer.add_special_tokens({"additional_special_tokens": [READ]}, replace_extra_special_tokens=False)
    tokenizer.chat_template = CHAT_TEMPLATE
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=sizes.hidden,
        intermediate_size=sizes.mlp,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.kv_heads,
        head_dim=sizes.head_dim,
        max_position_embeddings=sizes.positions,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
        attn_implementation="sdpa",
    )
    return Base(Qwen3ForCausalLM(config), tokenizer, "from scratch", adapted=False)
