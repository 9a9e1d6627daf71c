"""An incomplete checkpoint is refused with what it lacks."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from model_store.registry.checkpoint import INDEX, CheckpointError, read_checkpoint, read_labels
from tests.model_store.registry.checkpoints import ARCHITECTURE, PARAMETERS, checkpoint


def test_a_complete_checkpoint_is_described(tmp_path: Path) -> None:
    found = read_checkpoint(checkpoint(tmp_path / "c"))
    assert (found.architecture, found.parameters, found.positions) == (ARCHITECTURE, PARAMETERS, 512)
    assert found.scoring_architecture == "Qwen2ForSequenceClassification"


def test_labels_are_tokens_of_the_vocabulary(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "c", ("yes", "no"))
    assert (read_labels(folder).yes_id, read_labels(folder).no_id) == (1, 2)
    with pytest.raises(CheckpointError, match="'Yes' is not a single token"):
        read_labels(folder, "Yes", "No")


def _cut(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])


def _config(content: object) -> Callable[[Path], object]:
    return lambda folder: (folder / "config.json").write_text(json.dumps(content))


def _shape(folder: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": ["wide"], "data_offsets": [0, 0]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)


def _adapter(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "adapter_config.json").write_text("{}")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (lambda folder: (folder / "config.json").write_text("["), "can't be read"),
        (lambda folder: (folder / "config.json").write_text("{}"), "names no architecture"),
        (_config({"architectures": "Qwen3ForCausalLM"}), "architectures: Input should be a valid array"),
        (_config({"architectures": ["A"], "text_config": 3}), "text_config: "),
        (_config({"architectures": ["A"], "max_position_embeddings": "many"}), "max_position_embeddings: "),
        (lambda folder: (folder / "tokenizer.json").unlink(), r"no tokenizer\.json"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"no \*\.safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 20), "no safetensors file"),
        (lambda folder: (folder / INDEX).write_text(json.dumps({"weight_map": {"a": "part-2.safetensors"}})), "lacks"),
        (lambda folder: (folder / INDEX).write_text('{"weight_map": ["a"]}'), "weight_map: "),
        (
            lambda folder: (folder / INDEX).write_text('{"weight_map": {"a": "../a.safetensors"}}'),
            "no file of the folder",
        ),
        (_shape, r"shape\.0: "),
        (_cut, "copy it again"),
        (_adapter, "merge it into its base"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, spoil: Callable[[Path], object], message: str) -> None:
    folder = checkpoint(tmp_path / "c")
    spoil(folder)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(folder)


def test_a_broken_tokenizer_is_named(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "c")
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json can't be read"):
        read_labels(folder)
