"""What a checkpoint folder holds, read without loading it: files, architecture, labels and size."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TypeVar

from pydantic import BaseModel, NonNegativeInt, TypeAdapter, ValidationError

from model_store.errors import UserError, first_fault
from model_store.registry.manifest import Labels

_Read = TypeVar("_Read", bound=BaseModel)
INDEX = "model.safetensors.index.json"
_LENGTH_BYTES = 8
_LARGEST_HEADER = 100 * 2**20
_GENERATES = ("ForConditionalGeneration", "ForCausalLM")


class CheckpointError(UserError):
    """A folder is no complete checkpoint; the message says what is missing or broken."""


class _TextConfig(BaseModel):
    max_position_embeddings: NonNegativeInt | None = None
    dtype: str | None = None


class _Config(_TextConfig):
    """What is read of a `config.json`."""

    architectures: list[str] | None = None
    text_config: _TextConfig | None = None
    torch_dtype: str | None = None


class _Index(BaseModel):
    """What is read of an index of weight files."""

    weight_map: dict[str, str]


class _Tensor(BaseModel):
    """What is read of a tensor in the header of a safetensors file."""

    shape: list[NonNegativeInt]
    data_offsets: tuple[NonNegativeInt, NonNegativeInt]


_TENSORS = TypeAdapter(dict[str, _Tensor])


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
    config = _read(folder / "config.json", _Config)
    text = config.text_config or config
    if not config.architectures:
        raise CheckpointError(f"{folder}/config.json names no architecture: save the model with save_pretrained")
    if not (folder / "tokenizer.json").is_file():
        raise CheckpointError(f"{folder} has no tokenizer.json: save the tokenizer beside the weights")
    shapes = weight_shapes(folder)
    return Checkpoint(
        architecture=config.architectures[0],
        parameters=sum(math.prod(shape) for shape in shapes),
        positions=text.max_position_embeddings or 0,
        dtype=config.dtype or config.torch_dtype or text.dtype or "auto",
    )


def weight_shapes(folder: Path) -> list[list[int]]:
    """The shapes of all tensors of a checkpoint, whose files must be whole.

    Raises:
        CheckpointError: they are missing, cut short or no safetensors.
    """
    shapes = [shape for file in _weight_files(folder) for shape in _shapes(file)]
    if not shapes:
        raise CheckpointError(f"{folder} has weights without a tensor")
    return shapes


def read_labels(folder: Path, yes: str = "yes", no: str = "no") -> Labels:
    """The ids of the two labels, each of which must be one token.

    Raises:
        CheckpointError: one of them is not a token of the vocabulary, or there is no readable one.
    """
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # noqa: BLE001 - the library raises nothing more special
        raise CheckpointError(f"{file} can't be read: {error}") from None
    ids = {label: tokenizer.token_to_id(label) for label in (yes, no)}
    if missing := [label for label, number in ids.items() if number is None]:
        raise CheckpointError(f"{missing[0]!r} is not a single token of {folder}/tokenizer.json: choose other labels")
    return Labels(yes=yes, no=no, yes_id=ids[yes], no_id=ids[no])


def _weight_files(folder: Path) -> list[Path]:
    if (folder / INDEX).is_file():
        names = sorted(set(_read(folder / INDEX, _Index).weight_map.values()))
        if outside := [name for name in names if PurePath(name).name != name]:
            raise CheckpointError(f"{folder / INDEX} names {outside[0]!r}, which is no file of the folder")
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
            tensors = _TENSORS.validate_python(header).values()
        except ValidationError as error:
            raise CheckpointError(f"{file} is no safetensors file: {first_fault(error)}") from None
        except (ValueError, AttributeError, TypeError, RecursionError) as error:
            raise CheckpointError(f"{file} is no safetensors file: {error}") from None
    end = max((tensor.data_offsets[1] for tensor in tensors), default=0)
    if size != _LENGTH_BYTES + length + end:
        raise CheckpointError(f"{file} has {size:,} bytes and needs {_LENGTH_BYTES + length + end:,}: copy it again")
    yield from (tensor.shape for tensor in tensors)


def _read(file: Path, kind: type[_Read]) -> _Read:
    try:
        return kind.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{file.parent} has no {file.name}: it is no checkpoint folder") from None
    except ValidationError as error:
        raise CheckpointError(f"{file} can't be read: {first_fault(error)}") from None
    except OSError as error:
        raise CheckpointError(f"{file} can't be read: {error.strerror or error}") from None
