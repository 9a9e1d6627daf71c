"""What a checkpoint folder holds, read without loading it: files, architecture, labels and size."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_store.errors import UserError
from model_store.registry.manifest import Labels

INDEX = "model.safetensors.index.json"
_LENGTH_BYTES = 8
_LARGEST_HEADER = 100 * 2**20
_GENERATES = ("ForConditionalGeneration", "ForCausalLM")


class CheckpointError(UserError):
    """A folder is no complete checkpoint; the message says what is missing or broken."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """
    Args:
        architecture: the class in `config.json`, such as `Qwen3VLForConditionalGeneration`.
        positions: tokens that it was trained for; 0 if the configuration does not say.
    """

    architecture: str
    parameters: int
    positions: int
    dtype: str

    @property
    def scoring_architecture(self) -> str:
        """The class with which vLLM serves it as a pooling model."""
        for ending in _GENERATES:
            if self.architecture.endswith(ending):
                return self.architecture.removesuffix(ending) + "ForSequenceClassification"
        return self.architecture


def read_checkpoint(folder: Path) -> Checkpoint:
    """Check the files of a folder that vLLM is to load.

    Raises:
        CheckpointError: it lacks a configuration, a tokenizer or weights, or a file is cut short.
    """
    config = _json(folder / "config.json")
    text = config.get("text_config") or config
    architectures = config.get("architectures") or []
    if not architectures:
        raise CheckpointError(f"{folder}/config.json names no architecture: save the model with save_pretrained")
    if not (folder / "tokenizer.json").is_file():
        raise CheckpointError(f"{folder} has no tokenizer.json: save the tokenizer beside the weights")
    shapes = [shape for file in _weight_files(folder) for shape in _shapes(file)]
    if not shapes:
        raise CheckpointError(f"{folder} has weights without a tensor")
    return Checkpoint(
        architecture=str(architectures[0]),
        parameters=sum(math.prod(shape) for shape in shapes),
        positions=int(text.get("max_position_embeddings") or 0),
        dtype=str(config.get("dtype") or config.get("torch_dtype") or text.get("dtype") or "auto"),
    )


def read_labels(folder: Path, yes: str = "yes", no: str = "no") -> Labels:
    """The ids of the two labels, each of which must be one token.

    Raises:
        CheckpointError: one of them is not a token of the vocabulary.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = {label: tokenizer.token_to_id(label) for label in (yes, no)}
    if missing := [label for label, number in ids.items() if number is None]:
        raise CheckpointError(f"{missing[0]!r} is not a single token of {folder}/tokenizer.json: choose other labels")
    return Labels(yes=yes, no=no, yes_id=ids[yes], no_id=ids[no])


def _weight_files(folder: Path) -> list[Path]:
    if (folder / INDEX).is_file():
        names = sorted(set(_json(folder / INDEX).get("weight_map", {}).values()))
        files = [folder / name for name in names]
    else:
        files = sorted(folder.glob("*.safetensors"))
    if (folder / "adapter_config.json").is_file() and not files:
        raise CheckpointError(f"{folder} is an adapter: merge it into its base first")
    if not files:
        raise CheckpointError(f"{folder} has no *.safetensors: convert the weights with save_pretrained")
    if missing := [file.name for file in files if not file.is_file()]:
        raise CheckpointError(f"{folder} lacks {', '.join(missing)}, which {INDEX} names")
    return files


def _shapes(file: Path) -> Iterator[list[int]]:
    """The shape of each tensor of a safetensors file, whose length must be what its header says."""
    size = file.stat().st_size
    with file.open("rb") as content:
        length = int.from_bytes(content.read(_LENGTH_BYTES), "little")
        if not 0 < length <= min(size, _LARGEST_HEADER):
            raise CheckpointError(f"{file} is no safetensors file, or is cut short")
        try:
            header = json.loads(content.read(length))
            header.pop("__metadata__", None)
            end = max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
            shapes = [tensor["shape"] for tensor in header.values()]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{file} is no safetensors file: {error}") from None
    if size != _LENGTH_BYTES + length + end:
        raise CheckpointError(f"{file} has {size:,} bytes and needs {_LENGTH_BYTES + length + end:,}: copy it again")
    yield from shapes


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{file.parent} has no {file.name}: it is no checkpoint folder") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} can't be read: {error}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{file} is not a JSON object")
    return content
