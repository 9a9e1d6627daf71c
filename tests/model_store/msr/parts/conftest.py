"""Tiny parts with random weights: a language model, a vision encoder, and the projector between them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from model_store.data.dataset import read_dataset
from model_store.msr.parts import lora
from model_store.msr.parts.efficientnet import EfficientNetLite, Stage, VisionSizes
from model_store.msr.parts.encoder import save_vision
from model_store.msr.parts.encoding import SoftTokenEncoder
from model_store.msr.scratch.catalogue import Catalogue
from model_store.pictures import PictureSize
from model_store.prompts import PromptSet

VISION = VisionSizes(stem=8, stages=(Stage(1, 8, 1, 1, 3), Stage(4, 12, 2, 2, 5)), features=24, picture=32)
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEXTS = ["yes no yes no", "Likes jazz, sea. Avoids war.", "liked: Old tide (folk)", "user assistant Candidate:"] * 50


def tiny_tokenizer(template: str | None = TEMPLATE, vocabulary: int = 400) -> Any:
    """A byte-level tokenizer in which `yes` and `no` are single tokens."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, initial_alphabet=alphabet, special_tokens=SPECIAL, show_progress=False
    )
    bpe.train_from_iterator([*TEXTS, *["yes", "no"] * 500], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=SPECIAL[1], eos_token=SPECIAL[2], pad_token=SPECIAL[2], unk_token=SPECIAL[0],
        chat_template=template,
    )  # fmt: skip


def write_language_model(folder: Path, tokenizer: Any, layers: int = 2) -> None:
    """A Llama of a few thousand parameters."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=layers,
        num_attention_heads=2, num_key_value_heads=1, head_dim=32, max_position_embeddings=2048,
        tie_word_embeddings=True, initializer_range=0.3,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@dataclass(frozen=True)
class Parts:
    """The folders of the parts, and a data set."""

    llm: Path
    vision: Path
    world: Path

    def loaded(self) -> tuple[Any, SoftTokenEncoder, Catalogue]:
        """The frozen language model, the encoder of its prompts, and the catalogue."""
        model, tokenizer = lora.load_language_model(self.llm, torch.float32)
        encoder = SoftTokenEncoder(tokenizer, PromptSet.built_in("plain"), 4)
        return model, encoder, Catalogue(read_dataset(self.world), PictureSize())


@pytest.fixture(scope="session")
def parts(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Parts:
    folder = tmp_path_factory.mktemp("parts")
    write_language_model(folder / "llm", tiny_tokenizer())
    torch.manual_seed(1)
    save_vision(EfficientNetLite(VISION), folder / "vision")
    return Parts(folder / "llm", folder / "vision", world)
