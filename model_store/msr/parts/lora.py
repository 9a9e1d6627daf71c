"""LoRA (arXiv 2106.09685) on the linear layers of a language model's blocks, through PEFT."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from peft.helpers import disable_input_dtype_casting
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from transformers import AutoModelForCausalLM, AutoTokenizer

from model_store.errors import UserError
from model_store.registry.checkpoint import weight_shapes

TARGETS = r"model\.layers\.\d+\.(self_attn\.[qkvo]|mlp\.(gate|up|down))_proj"
"""Neither embeddings nor head: vLLM reads the labels' rows of the head."""


class LanguageModelError(UserError):
    """A folder does not have a usable language model; the message says what it lacks."""


@dataclass(frozen=True, slots=True)
class LoraSizes:
    """The rank of the updates; `alpha / rank` scales them. `layers`: adapt only so many of the last; 0 adapts all."""

    rank: int = 16
    alpha: int = 32
    layers: int = 0


def load_language_model(folder: Path, dtype: torch.dtype, attention: str = "eager") -> tuple[Any, Any]:
    """Load (model, tokenizer) of a folder, frozen; `attention` is transformers' name of the implementation.

    Raises:
        LanguageModelError: it is no checkpoint of a causal language model with a tokenizer.
        CheckpointError: a file of weights is missing or cut short.
    """
    if not (folder / "config.json").is_file():
        raise LanguageModelError(f"{folder} has no config.json: `tastestream models fetch-parts` writes such a folder")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise LanguageModelError(f"{folder} has no tokenizer: copy that of the language model into it")
    weight_shapes(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, attn_implementation=attention, local_files_only=True
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise LanguageModelError(f"{folder} is no causal language model that transformers can load: {first}") from None
    if not any(re.fullmatch(TARGETS, name) for name, _ in model.named_modules()):
        raise LanguageModelError(f"{folder}: {type(model).__name__} has no layers of the form {TARGETS}")
    return model.eval().requires_grad_(False), tokenizer


def adapted(model: Any, sizes: LoraSizes, seed: int) -> Any:
    """`model` with untrained adapters (float32); its base stays frozen."""
    torch.manual_seed(seed)
    count = model.config.num_hidden_layers
    chosen = range(count - sizes.layers if 0 < sizes.layers < count else 0, count)
    targets = TARGETS.replace(r"\d+", f"({'|'.join(map(str, chosen))})")
    config = LoraConfig(r=sizes.rank, lora_alpha=sizes.alpha, target_modules=targets, task_type="CAUSAL_LM")
    return get_peft_model(model, config)


def adapters(model: Any) -> dict[str, torch.Tensor]:
    """The adapters' tensors."""
    state: dict[str, torch.Tensor] = get_peft_model_state_dict(model)
    return state


def load_adapters(model: Any, state: dict[str, torch.Tensor]) -> None:
    """Set the adapters' tensors.

    Raises:
        ValueError: they are those of another model.
    """
    if {name: tensor.shape for name, tensor in adapters(model).items()} != {n: t.shape for n, t in state.items()}:
        raise ValueError("the adapters are those of another model, or of another rank")
    set_peft_model_state_dict(model, state)


def in_one_dtype(model: Any) -> Any:
    """A context in which adapters compute in the dtype of their input under autocast."""
    return disable_input_dtype_casting(model)


def merged_copy(model: Any) -> Any:
    """The plain model with the adapters added to its weights, in float32.

    Raises:
        RuntimeError: see `merge`.
    """
    merged, _ = merge(model.float())
    return merged


def merge(model: Any) -> tuple[Any, int]:
    """Add the adapters to the base weights; returns the plain model and the number of tensors that changed.

    Raises:
        RuntimeError: a target has not changed, so the merge has lost an adapter.
    """
    targets = [name for name, _ in model.get_base_model().named_modules() if name.endswith(".base_layer")]
    before = {name: model.get_base_model().get_submodule(name).weight.clone() for name in targets}
    merged = model.merge_and_unload()
    changed = 0
    for name, weight in before.items():
        plain = name.removesuffix(".base_layer")
        if torch.equal(merged.get_submodule(plain).weight, weight):
            raise RuntimeError(f"merging has not changed {plain}: its adapter is lost or untrained")
        changed += 1
    return merged, changed
