"""Checkpoints with random weights of the vision-language architectures that can be fine-tuned.

Each has what a pretrained one has: configuration, weights, tokenizer with a chat template, and image processor. The
chat templates have the forms of those families: Qwen2.5-VL adds a system message, LLaVA-NeXT moves the picture to the
front and lets the answer begin with a space, Gemma begins with `<bos>`, which its tokenizer adds as well.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from model_store.msr.scratch.architecture import END, Sizes, new_model, processor, train_tokenizer
from model_store.pictures import PictureSize
from model_store.prompts import PromptSet
from model_store.views import InteractionView, ItemView, UserView

HIDDEN, LAYERS, HEADS, VISION = 64, 2, 2, 32
PICTURE = PictureSize(64, 64)
_QWEN_PART = (
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
)


def _turns(opening: str, role: str, part: str, closing: str, answer: str) -> str:
    return (
        opening
        + "{% for message in messages %}"
        + role
        + "{% if message.content is string %}{{ message.content }}{% else %}"
        + "{% for part in message.content %}"
        + part
        + "{% endfor %}{% endif %}"
        + closing
        + "{% endfor %}{% if add_generation_prompt %}"
        + answer
        + "{% endif %}"
    )


_IM = ("<|im_start|>{{ message.role }}\n", _QWEN_PART, "<|im_end|>\n", "<|im_start|>assistant\n")
QWEN3_TEMPLATE = _turns("", *_IM)
QWEN25_TEMPLATE = _turns(
    "{% if messages[0].role != 'system' %}<|im_start|>system\nBe helpful.<|im_end|>\n{% endif %}", *_IM
)
GEMMA_TEMPLATE = _turns(
    "{{ bos_token }}",
    "<start_of_turn>{{ 'model' if message.role == 'assistant' else message.role }}\n",
    "{% if part.type == 'image' %}<start_of_image>{% else %}{{ part.text | trim }}{% endif %}",
    "<end_of_turn>\n",
    "<start_of_turn>model\n",
)
LLAVA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message.role == 'user' %}{{ '[INST] ' }}"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content if part.type == 'image' %}{{ '<image>\n' }}{% endfor %}"
    "{% for part in message.content if part.type == 'text' %}{{ part.text }}{% endfor %}{% endif %}{{ ' [/INST]' }}"
    "{% else %}{{ ' ' }}{% if message.content is string %}{{ message.content }}{% else %}"
    "{{ message.content[0].text }}{% endif %}{{ eos_token }}{% endif %}{% endfor %}"
)


def texts() -> list[str]:
    """What a tokenizer of these bases is trained on: the prompts."""
    prompts = PromptSet.built_in()
    item = ItemView("Red Harbour", ("drama", "mystery"), ("sea",), "a town by the sea", "a red boat")
    block = (InteractionView("like", item), InteractionView("view", item), InteractionView("dislike", None))
    user = UserView("This user enjoys calm harbours and old towers.", block)
    return [prompts.rank_user(user), prompts.rank_user(UserView()), prompts.rank_item(item), "yes no"] * 5


def _vocabulary(specials: list[str], size: int, *, words: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A BPE vocabulary with byte fallback, in which spaces are `▁`; `words` become single tokens."""
    from tokenizers import Tokenizer, models, trainers

    marked = [text.replace(" ", "▁") for text in texts()]
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    bpe = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    from tokenizers import pre_tokenizers

    bpe.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=[*specials, *fallback], show_progress=False)
    bpe.train_from_iterator([*marked, *words * 1000], trainer)
    merges = [tuple(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]
    return bpe.get_vocab(), merges


def _scaled(model: Any) -> Any:
    """Fresh weights are so small that every prompt would get the same score."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4)
    return model


def _as_published(folder: Path) -> None:
    """Rename the vision tower's weights to the names of the published checkpoints.

    transformers 5 shortens them when it loads such a checkpoint, and restores them when it saves that again. A model
    that was made in code is saved with the short names, under which vLLM does not find them.
    """
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    renamed = {name.replace("vision_tower.", "vision_tower.vision_model."): tensor for name, tensor in tensors.items()}
    save_file(renamed, weights, metadata={"format": "pt"})


def qwen3_vl(folder: Path) -> None:
    sizes = Sizes(hidden=HIDDEN, layers=LAYERS, heads=HEADS, kv_heads=1, head_dim=32, mlp=96, vision_hidden=VISION,
                  vision_layers=2, vision_heads=2, vision_mlp=64, vocabulary=600, picture=PICTURE)  # fmt: skip
    tokenizer = train_tokenizer(texts(), sizes.vocabulary)
    _scaled(new_model(tokenizer, sizes, seed=0)).save_pretrained(folder)
    whole = processor(tokenizer, sizes)
    whole.chat_template = tokenizer.chat_template = QWEN3_TEMPLATE
    whole.save_pretrained(folder)


def qwen2_5_vl(folder: Path) -> None:
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    tokenizer = train_tokenizer(texts(), 600)
    ids = tokenizer.convert_tokens_to_ids
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": HIDDEN, "intermediate_size": 96, "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS, "num_key_value_heads": 1, "max_position_embeddings": 2048,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [8, 4, 4]},
            "bos_token_id": None, "eos_token_id": ids(END), "pad_token_id": ids(END),
        },
        vision_config={
            "depth": 2, "hidden_size": VISION, "intermediate_size": 64, "num_heads": 2, "patch_size": 14,
            "out_hidden_size": HIDDEN, "window_size": 56, "fullatt_block_indexes": [1],
        },
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    _scaled(Qwen2_5_VLForConditionalGeneration(config)).save_pretrained(folder)
    vision = {"patch_size": 14, "size": {"shortest_edge": 28 * 28, "longest_edge": 56 * 56}}
    images, video = Qwen2VLImageProcessor(**vision), Qwen2VLVideoProcessor(**vision)
    tokenizer.chat_template = QWEN25_TEMPLATE
    Qwen2_5_VLProcessor(images, tokenizer, video, chat_template=QWEN25_TEMPLATE).save_pretrained(folder)


def llava_next(folder: Path) -> None:
    from transformers import (
        LlamaTokenizer,
        LlavaNextConfig,
        LlavaNextForConditionalGeneration,
        LlavaNextImageProcessor,
        LlavaNextProcessor,
    )

    vocabulary, merges = _vocabulary(["<unk>", "<s>", "</s>", "<pad>", "<image>"], 700, words=["▁yes", "▁no"])
    tokenizer = LlamaTokenizer(
        vocab=vocabulary, merges=merges, pad_token="<pad>", chat_template=LLAVA_TEMPLATE, add_bos_token=True
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    config = LlavaNextConfig(
        text_config={
            "model_type": "mistral", "vocab_size": len(tokenizer), "hidden_size": HIDDEN, "intermediate_size": 96,
            "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": 1, "head_dim": 32,
            "max_position_embeddings": 2048, "sliding_window": None, "pad_token_id": 3,
            "architectures": ["MistralForCausalLM"],
        },
        vision_config={
            "model_type": "clip_vision_model", "hidden_size": VISION, "intermediate_size": 64, "num_hidden_layers": 3,
            "num_attention_heads": 2, "image_size": 32, "patch_size": 8, "projection_dim": VISION,
        },
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=[[32, 64], [64, 32], [64, 64]],
        image_seq_length=16,
    )  # fmt: skip
    torch.manual_seed(0)
    _scaled(LlavaNextForConditionalGeneration(config)).save_pretrained(folder)
    _as_published(folder)
    images = LlavaNextImageProcessor(
        size={"shortest_edge": 32},
        crop_size={"height": 32, "width": 32},
        image_grid_pinpoints=config.image_grid_pinpoints,
    )
    LlavaNextProcessor(
        images,
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        chat_template=LLAVA_TEMPLATE,
        num_additional_image_tokens=1,
    ).save_pretrained(folder)


def gemma3(folder: Path) -> None:
    from transformers import (
        Gemma3Config,
        Gemma3ForConditionalGeneration,
        Gemma3ImageProcessor,
        Gemma3Processor,
        GemmaTokenizer,
    )

    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>",
                "<start_of_image>", "<end_of_image>", "<image_soft_token>", "\n", "\n\n", "\n\n\n",
                "\n\n\n\n"]  # fmt: skip
    vocabulary, merges = _vocabulary(specials, 700, words=["yes", "no"])
    tokenizer = GemmaTokenizer(
        vocab=vocabulary,
        merges=merges,
        chat_template=GEMMA_TEMPLATE,
        add_bos_token=True,
        extra_special_tokens={
            "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"
        },
    )  # fmt: skip
    tokenizer.add_special_tokens({"additional_special_tokens": ["<start_of_turn>", "<end_of_turn>"]})
    ids = tokenizer.convert_tokens_to_ids
    config = Gemma3Config(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": HIDDEN, "intermediate_size": 96, "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS, "num_key_value_heads": 1, "head_dim": 32, "max_position_embeddings": 2048,
            "query_pre_attn_scalar": 32, "sliding_window": 64,
            "layer_types": ["sliding_attention", "full_attention"],
        },
        vision_config={
            "hidden_size": VISION, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 64, "patch_size": 8, "vision_use_head": False,
        },
        mm_tokens_per_image=16,
        boi_token_index=ids("<start_of_image>"),
        eoi_token_index=ids("<end_of_image>"),
        image_token_index=ids("<image_soft_token>"),
    )  # fmt: skip
    torch.manual_seed(0)
    _scaled(Gemma3ForConditionalGeneration(config)).save_pretrained(folder)
    _as_published(folder)
    images = Gemma3ImageProcessor(size={"height": 64, "width": 64})
    Gemma3Processor(images, tokenizer, chat_template=GEMMA_TEMPLATE, image_seq_length=16).save_pretrained(folder)


BASES: dict[str, Callable[[Path], None]] = {
    "qwen3-vl": qwen3_vl,
    "qwen2.5-vl": qwen2_5_vl,
    "llava-next": llava_next,
    "gemma3": gemma3,
}
