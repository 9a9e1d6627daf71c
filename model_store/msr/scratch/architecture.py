"""The small MLLM that is trained from scratch: Qwen3-VL's architecture with another tokenizer.

One model does the three jobs of MLLM-MSR (describe, summarize, rank). It is a plain
`Qwen3VLForConditionalGeneration` checkpoint, which transformers and vLLM load like the large ones.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from model_store.pictures import PictureSize

END = "<|endoftext|>"
START_TURN, END_TURN = "<|im_start|>", "<|im_end|>"
VISION_START, VISION_END, IMAGE, VIDEO = "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"
SPECIAL = (END, START_TURN, END_TURN, VISION_START, VISION_END, IMAGE, VIDEO)
YES, NO = "yes", "no"
CHAT_TEMPLATE = "{% for message in messages %}" + START_TURN + "{{ message['content'] }}" + END_TURN + "{% endfor %}"
"""A turn is its text between two marks, and the answer follows directly. Roles would only cost tokens."""
MERGE = 2
TEMPORAL = 2


@dataclass(frozen=True, slots=True)
class Sizes:
    """The size of the model. Widths in units, `picture` in pixels; `vocabulary` counts all tokens."""

    vocabulary: int = 1024
    hidden: int = 192
    layers: int = 4
    heads: int = 3
    kv_heads: int = 1
    head_dim: int = 64
    mlp: int = 512
    vision_hidden: int = 96
    vision_layers: int = 3
    vision_heads: int = 3
    vision_mlp: int = 256
    patch: int = 16
    picture: PictureSize = field(default_factory=PictureSize)
    positions: int = 2048

    @property
    def grid(self) -> tuple[int, int]:
        """Patches of one picture: (rows, columns)."""
        return self.picture.height // self.patch, self.picture.width // self.patch

    @property
    def token_grid(self) -> tuple[int, int]:
        """Tokens of one picture in a prompt: (rows, columns)."""
        rows, columns = self.grid
        return rows // MERGE, columns // MERGE

    def __post_init__(self) -> None:
        unit = self.patch * MERGE
        if self.picture.fit != "stretch" or self.picture.width % unit or self.picture.height % unit:
            raise ValueError(f"pictures must be stretched to multiples of {unit} pixels, not {self.picture}")


def train_tokenizer(texts: Sequence[str], vocabulary: int) -> Any:
    """Train a byte-level BPE tokenizer of Qwen2's form with at most `vocabulary` tokens on `texts`.

    `yes` and `no` always become single tokens.
    """
    reference = Qwen2Tokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
        min_frequency=2,
    )
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = reference.backend_tokenizer.normalizer
    bpe.pre_tokenizer = reference.backend_tokenizer.pre_tokenizer
    labels = repeat(f"{YES}\n{NO}", 1000 + sum(map(len, texts)))
    bpe.train_from_iterator(chain(texts, labels), trainer)
    vocab = bpe.get_vocab()
    ordered = {token: rank for rank, token in enumerate(sorted(vocab, key=vocab.__getitem__))}
    return Qwen2Tokenizer(
        vocab=ordered,
        merges=[tuple(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]],
        unk_token=END,
        eos_token=END,
        pad_token=END,
        extra_special_tokens=list(SPECIAL),
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def processor(tokenizer: Any, sizes: Sizes) -> Any:
    """The processor that vLLM and transformers load with the weights; it scales down pictures with more pixels."""
    pixels = sizes.picture.width * sizes.picture.height
    images = Qwen2VLImageProcessor(**_vision_processing(sizes, pixels))
    video = Qwen3VLVideoProcessor(**_vision_processing(sizes, 2 * pixels))
    return Qwen3VLProcessor(images, tokenizer, video, chat_template=CHAT_TEMPLATE)


def _vision_processing(sizes: Sizes, pixels: int) -> dict[str, Any]:
    return {
        "patch_size": sizes.patch,
        "temporal_patch_size": TEMPORAL,
        "merge_size": MERGE,
        "size": {"shortest_edge": (sizes.patch * MERGE) ** 2, "longest_edge": pixels},
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }


def configuration(tokenizer: Any, sizes: Sizes) -> Any:
    """The model's configuration for `tokenizer` at these sizes."""
    rotary = sizes.head_dim // 2
    side = rotary // 3
    rows, columns = sizes.grid
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": sizes.hidden,
        "intermediate_size": sizes.mlp,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.kv_heads,
        "head_dim": sizes.head_dim,
        "max_position_embeddings": sizes.positions,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10_000.0,
            "mrope_section": [rotary - 2 * side, side, side],
            "mrope_interleaved": True,
        },
        "bos_token_id": None,
        "eos_token_id": tokenizer.convert_tokens_to_ids(END),
        "tie_word_embeddings": True,
    }
    vision = {
        "hidden_size": sizes.vision_hidden,
        "intermediate_size": sizes.vision_mlp,
        "depth": sizes.vision_layers,
        "num_heads": sizes.vision_heads,
        "patch_size": sizes.patch,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": TEMPORAL,
        "out_hidden_size": sizes.hidden,
        "num_position_embeddings": max(rows, columns) ** 2,
        "deepstack_visual_indexes": [sizes.vision_layers // 2],
    }
    return Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        video_token_id=tokenizer.convert_tokens_to_ids(VIDEO),
        vision_start_token_id=tokenizer.convert_tokens_to_ids(VISION_START),
        vision_end_token_id=tokenizer.convert_tokens_to_ids(VISION_END),
        tie_word_embeddings=True,
        eos_token_id=tokenizer.convert_tokens_to_ids(END),
        pad_token_id=tokenizer.convert_tokens_to_ids(END),
    )


def new_model(tokenizer: Any, sizes: Sizes, seed: int) -> Any:
    """A model with random weights (float32) that depend only on the seed."""
    torch.manual_seed(seed)
    model = Qwen3VLForConditionalGeneration(configuration(tokenizer, sizes))
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(END)
    model.generation_config.pad_token_id = tokenizer.convert_tokens_to_ids(END)
    return model


def write_checkpoint(folder: Path, model: Any, tokenizer: Any, sizes: Sizes, dtype: torch.dtype) -> None:
    """Write weights in `dtype`, configuration, tokenizer and processor to `folder`, as vLLM loads them."""
    folder.mkdir(parents=True, exist_ok=True)
    model.to(dtype).save_pretrained(folder)
    processor(tokenizer, sizes).save_pretrained(folder)


def read_checkpoint(folder: Path) -> tuple[Any, Any]:
    """Load (model, processor) of a checkpoint folder, in float32."""
    model = Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), Qwen3VLProcessor.from_pretrained(folder)
