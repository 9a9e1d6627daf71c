"""Opens a pretrained base, after checks that take seconds and spare hours."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_store.msr.finetune import FinetuneError
from model_store.msr.finetune.families import Family, family_of
from model_store.msr.finetune.frame import ChatFrame, chat_frame
from model_store.registry.checkpoint import weight_shapes

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json")
_FILES = ("*.json", "*.safetensors", "*.jinja", "*.txt", "*.model")
_HEAD_BYTES = 1 << 20


@dataclass(frozen=True)
class Base:
    """A base in a local folder, checked, without its weights in memory.

    `name` is what the user gave, `revision` the hub's commit; "" for a folder. `digest` tells two bases apart.
    """

    name: str
    revision: str
    digest: str
    folder: Path
    config: Any
    processor: Any
    family: Family
    frame: ChatFrame

    @property
    def id(self) -> str:
        """Name and revision, for manifests."""
        return f"{self.name}@{self.revision}" if self.revision else self.name


def open_base(name: str, revision: str | None = None) -> Base:
    """Find the base, download it if `name` is a hub id, and check it.

    Raises:
        FinetuneError: it can't be had or can't be trained; the message names the remedy.
        CheckpointError: a file of weights is missing or cut short.
    """
    from transformers import AutoConfig, AutoProcessor

    folder, commit = _find(name, revision)
    config = _load(AutoConfig, folder, f"{name} has no readable config.json")
    family = family_of(config, name)
    if not any((folder / file).is_file() for file in _TOKENIZERS):
        raise FinetuneError(f"{name} has no tokenizer; copy the model's tokenizer.json and tokenizer_config.json to it")
    if not _has_image_processor(folder):
        raise FinetuneError(f"{name} has no image processor; copy the model's preprocessor_config.json to it")
    if not next(folder.glob("*.safetensors"), None):
        raise FinetuneError(f"{name} has no weights as safetensors; save it with transformers' save_pretrained first")
    weight_shapes(folder)
    processor = _load(AutoProcessor, folder, f"{name} has no readable processor")
    processor.chat_template = processor.chat_template or processor.tokenizer.chat_template
    if not processor.chat_template:
        raise FinetuneError(f"{name} has no chat template; take the instruct version, or copy its chat_template.jinja")
    if processor.tokenizer.pad_token is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    frame = chat_frame(processor, name)
    return Base(name, commit, _digest(folder), folder, config, processor, family, frame)


def tensor_sizes(folder: Path) -> Iterator[tuple[str, tuple[int, ...], str]]:
    """Name, shape and dtype of each tensor of a checkpoint, read off the headers of its files."""
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        for name, tensor in header.items():
            if name != "__metadata__":
                yield name, tuple(tensor["shape"]), tensor["dtype"]


def _find(name: str, revision: str | None) -> tuple[Path, str]:
    folder = Path(name).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise FinetuneError(f"{name} is a folder, which has no revisions; leave out --revision")
        return folder, ""
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise FinetuneError(f"{name} is neither a folder nor a hub id such as Qwen/Qwen3-VL-2B-Instruct (--base)")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        found = Path(snapshot_download(name, revision=revision, allow_patterns=list(_FILES)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise FinetuneError(
            f"{name} is no folder here and can't be downloaded ({reason}); without a network, copy the model to this "
            "machine and name its folder (--base)"
        ) from None
    return found, found.name


def _load(auto: Any, folder: Path, problem: str) -> Any:
    try:
        return auto.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        raise FinetuneError(f"{problem}: {str(error).strip().splitlines()[0]}") from None


def _has_image_processor(folder: Path) -> bool:
    path = folder / "processor_config.json"
    try:
        config = json.loads(path.read_bytes())
    except FileNotFoundError:
        config = {}
    except ValueError as error:
        raise FinetuneError(f"{path} can't be read ({error}): copy it from the model again") from None
    return (isinstance(config, dict) and "image_processor" in config) or (folder / "preprocessor_config.json").is_file()


def _digest(folder: Path) -> str:
    """Of the configuration, and of each weight file's size and beginning: hashing it all would take minutes."""
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            digest.update(f"{path.name} {path.stat().st_size}".encode() + file.read(_HEAD_BYTES))
    return digest.hexdigest()
