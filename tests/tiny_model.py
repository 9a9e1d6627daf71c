"""Checkpoints with random weights, for tests of everything around a model: loading, launching, scoring."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from model_store.msr.scratch.architecture import Sizes, new_model, train_tokenizer, write_checkpoint
from model_store.msr.scratch.encoding import Encoder
from model_store.registry.manifest import PictureTokens
from model_store.views import ItemView, UserView

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""The template of chat models like SmolLM2."""
SOFT = PictureTokens(count=3, width=64)
SMALL = Sizes(hidden=64, layers=2, heads=2, kv_heads=1, mlp=128, vision_hidden=64, vision_heads=2)


def tiny_qwen3_vl(folder: Path, texts: Iterable[str], sizes: Sizes = SMALL) -> Any:
    """Write a checkpoint with a tokenizer trained on `texts`; returns the model."""
    tokenizer = train_tokenizer(list(texts), sizes.vocabulary)
    model = new_model(tokenizer, sizes, seed=0)
    write_checkpoint(folder, model, tokenizer, sizes, torch.float32)
    return model


def tiny_llama(folder: Path, texts: Iterable[str]) -> Any:
    """Write a text-only checkpoint whose embeddings are `SOFT.width` wide; returns the model."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = train_tokenizer(list(texts), SMALL.vocabulary)
    tokenizer.chat_template = CHATML
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=SOFT.width,
        intermediate_size=128,
        num_hidden_layers=2,
        # vLLM's CPU attention has no heads of 16.
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=4096,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        # Fresh weights are so small that every prompt would get the same score.
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def ranking_prompt(encoder: Encoder, user: UserView, item: ItemView) -> list[int]:
    """Ids of the whole ranking prompt, rendered as one text."""
    picture = encoder._picture if item.image is not None else ""
    return encoder._ids(encoder._score(encoder.prompts.rank_user(user), picture + encoder.prompts.rank_item(item)))
