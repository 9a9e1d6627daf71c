"""From a GGUF file, as llama.cpp uses, to a checkpoint folder that transformers and vLLM load."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig
from transformers.utils import logging

from model_store.msr.parts.efficientnet import PartError

_QUESTION = "What is the capital of France?"
_SAMPLE_TOKENS = 16
_HEAD, _EMBEDDINGS = "lm_head.weight", "model.embed_tokens.weight"


def convert_gguf(file: Path, folder: Path) -> tuple[str, str]:
    """Dequantize `file` (float32) into `folder`.

    Returns:
        The licence that the file states, or "", and the greedy answer to a question, by which a reader sees that
        weights and tokenizer belong together.

    Raises:
        PartError: the file can't be converted, or its tokenizer would not survive.
    """
    metadata = _metadata(file)
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, local_files_only=True)
        loaded = AutoModelForCausalLM.from_pretrained(
            file.parent,
            gguf_file=file.name,
            dtype=torch.float32,
            quantization_config=GgufConfig(gguf_file=file.name, dequantize=True),
            local_files_only=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, NotImplementedError, ImportError) as error:
        lines = str(error).strip().splitlines()
        raise PartError(f"{file} can't be converted: {lines[0] if lines else type(error).__name__}") from error
    _check_tokenizer(file, tokenizer, metadata)
    model = _plain(loaded)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(metadata.get("general.license", "")), _sample(model, tokenizer)


def _plain(loaded: Any) -> Any:
    """The same model without any trace of quantization, which `save_pretrained` refuses."""
    state = loaded.state_dict()
    fields = {name: value for name, value in loaded.config.to_dict().items() if name != "quantization_config"}
    # A file may have the head as a copy of the embeddings.
    fields["tie_word_embeddings"] = _HEAD not in state or torch.equal(state[_HEAD], state[_EMBEDDINGS])
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**fields), dtype=torch.float32)
    model.load_state_dict(state)
    return model.eval()


def _metadata(file: Path) -> dict[str, Any]:
    try:
        from gguf import GGUFReader
    except ModuleNotFoundError:
        raise PartError("reading GGUF files needs the package gguf: pip install 'tastestream[finetune]'") from None
    try:
        fields = GGUFReader(file).fields
    except (ValueError, OSError, IndexError, KeyError) as error:
        raise PartError(f"{file} is not a GGUF file: {error}") from None
    small = {name: field for name, field in fields.items() if not name.startswith("tokenizer.ggml.") or "id" in name}
    bos = fields.get("tokenizer.ggml.add_bos_token")
    found = {name: field.contents() for name, field in small.items()}
    return found | ({"add_bos": bool(bos.contents())} if bos else {})


def _check_tokenizer(file: Path, tokenizer: Any, metadata: dict[str, Any]) -> None:
    """Compare the special tokens with those that the file states."""
    for kind in ("bos", "eos"):
        stated = metadata.get(f"tokenizer.ggml.{kind}_token_id")
        if stated is not None and getattr(tokenizer, f"{kind}_token_id") != stated:
            raise PartError(
                f"the tokenizer of {file} lost its {kind} token {stated}: take it from the original checkpoint"
            )
    if metadata.get("add_bos") and tokenizer.encode("a")[0] != tokenizer.bos_token_id:
        raise PartError(f"the tokenizer of {file} lost its bos token: take it from the original checkpoint")
    if not tokenizer.chat_template:
        raise PartError(f"{file} has no chat template: take the file of an instruct model")


def _sample(model: Any, tokenizer: Any) -> str:
    messages = [{"role": "user", "content": _QUESTION}]
    asked = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.inference_mode():
        written = model.generate(**asked, max_new_tokens=_SAMPLE_TOKENS, do_sample=False)
    text: str = tokenizer.decode(written[0, asked["input_ids"].shape[1] :], skip_special_tokens=True)
    return " ".join(text.split())
