"""A merge is registered only if exactly the layers with an adapter changed."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from model_store.msr.finetune import FinetuneError
from model_store.msr.finetune.merge import check_merged

QUERY, KEY = "layers.0.self_attn.q_proj", "layers.0.self_attn.k_proj"
BASE = {
    f"language_model.model.{QUERY}.weight": torch.zeros(2, 2),
    f"language_model.model.{KEY}.weight": torch.zeros(2, 2),
    "language_model.model.embed_tokens.weight": torch.zeros(3, 2),
    f"vision_tower.encoder.{QUERY}.weight": torch.zeros(2, 2),
}
TARGETS = [f"model.language_model.{QUERY}", f"model.language_model.{KEY}"]
BOTH = tuple(BASE)[:2]


def written(folder: Path, *changed: str) -> Path:
    folder.mkdir()
    tensors = {name: weight + 1 if name in changed else weight.clone() for name, weight in BASE.items()}
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return written(tmp_path / "base")


def test_all_layers_with_an_adapter_changed(base: Path, tmp_path: Path) -> None:
    merged = check_merged(base, written(tmp_path / "merged", *BOTH), TARGETS)
    assert (merged.changed, merged.tensors) == (2, 4)


@pytest.mark.parametrize("changed", [(), BOTH[:1]])
def test_an_unchanged_layer_is_refused(base: Path, tmp_path: Path, changed: tuple[str, ...]) -> None:
    with pytest.raises(FinetuneError, match=f"changed {len(changed)} of 2 tensors with an adapter, but not layers.0"):
        check_merged(base, written(tmp_path / "merged", *changed), TARGETS)


@pytest.mark.parametrize("other", tuple(BASE)[2:])
def test_any_other_change_is_refused(base: Path, tmp_path: Path, other: str) -> None:
    with pytest.raises(FinetuneError, match=f"changed {other}, which has no adapter"):
        check_merged(base, written(tmp_path / "merged", *BOTH, other), TARGETS)


def test_a_changed_vision_layer_does_not_stand_for_that_of_the_language_model(base: Path, tmp_path: Path) -> None:
    merged = written(tmp_path / "merged", BOTH[1], tuple(BASE)[3])
    with pytest.raises(FinetuneError, match="changed 1 of 2"):
        check_merged(base, merged, TARGETS)


def test_a_renamed_tensor_is_refused(base: Path, tmp_path: Path) -> None:
    (tmp_path / "merged").mkdir()
    save_file({f"model.{name}": weight for name, weight in BASE.items()}, tmp_path / "merged" / "model.safetensors")
    with pytest.raises(FinetuneError, match="which its base has not"):
        check_merged(base, tmp_path / "merged", TARGETS)
