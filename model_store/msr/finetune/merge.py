"""Merges an adapter into its base, and proves that the files contain it."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from model_store.msr.finetune import FinetuneError
from model_store.msr.finetune.base import Base

_PLACE = re.compile(r"layers\.\d+\..*")
"""What a layer is called in every layout of a checkpoint: transformers renames what comes before."""
_VISION = re.compile(r"vision|visual")


@dataclass(frozen=True, slots=True)
class Merged:
    """Tensors that the merge changed, and all tensors of the checkpoint."""

    changed: int
    tensors: int


def write_merged(adapter: Path, base: Base, folder: Path) -> Merged:
    """Merge an adapter into the base in the base's own precision, whatever it was trained in, and write the checkpoint.

    Raises:
        FinetuneError: a module with an adapter is unchanged in the files, or another tensor is not.
    """
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    loaded = AutoModelForImageTextToText.from_pretrained(base.folder, dtype="auto", local_files_only=True)
    model = PeftModel.from_pretrained(loaded, str(adapter))
    expected = list(model.targeted_module_names)
    merged = model.merge_and_unload()
    # vLLM looks for it here, where transformers no longer writes it for every family.
    merged.config.get_text_config().tie_word_embeddings = merged.config.tie_word_embeddings
    merged.save_pretrained(folder)
    base.processor.save_pretrained(folder)
    return check_merged(base.folder, folder, expected)


def check_merged(base: Path, merged: Path, expected: list[str]) -> Merged:
    """Compare two checkpoints tensor by tensor: exactly the modules `expected` must differ.

    Raises:
        FinetuneError: they do not; the version must not be registered.
    """
    changed, total = [], 0
    for name, before, after in _pairs(base, merged):
        total += 1
        if before is None or before.shape != after.shape:
            raise FinetuneError(f"the merged checkpoint has {name}, which its base has not; nothing is registered")
        if not torch.equal(before.to(after.dtype), after):
            changed.append(name)
    wanted = {_place(f"{name}.weight") for name in expected}
    found = {_place(name) for name in changed if not _VISION.search(name)}
    if missing := wanted - found:
        raise FinetuneError(
            f"the merge changed {len(found & wanted)} of {len(wanted)} tensors with an adapter, but not "
            f"{sorted(missing)[0]}; nothing is registered. Train longer, or with a higher --learning-rate"
        )
    if other := [name for name in changed if _VISION.search(name) or _place(name) not in wanted]:
        raise FinetuneError(f"the merge changed {other[0]}, which has no adapter; nothing is registered")
    return Merged(len(changed), total)


def _pairs(base: Path, merged: Path) -> Iterator[tuple[str, torch.Tensor | None, torch.Tensor]]:
    """Each tensor of the merged checkpoint and that of the base, one at a time."""
    from safetensors import safe_open

    with ExitStack() as stack:
        known: dict[str, Any] = {}
        for path in sorted(base.glob("*.safetensors")):
            file = stack.enter_context(safe_open(path, "pt"))
            known |= dict.fromkeys(file.keys(), file)
        for path in sorted(merged.glob("*.safetensors")):
            after = stack.enter_context(safe_open(path, "pt"))
            for name in after.keys():  # noqa: SIM118 - not a mapping
                yield name, known[name].get_tensor(name) if name in known else None, after.get_tensor(name)


def _place(name: str) -> str:
    found = _PLACE.search(name)
    return found[0] if found else name
