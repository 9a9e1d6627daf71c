"""A base or data that can't be trained with is refused in one line with the remedy, before any weights are loaded."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from model_store.data.dataset import DatasetError
from model_store.errors import UserError
from model_store.msr.finetune import FinetuneError
from model_store.msr.finetune.base import open_base
from model_store.msr.finetune.setup import Setup, require_length

Folder = Callable[[str], Path]
Prepared = Callable[..., Setup]


@pytest.fixture
def folder(base_folder: Folder, tmp_path: Path) -> Path:
    """A copy of a base that a test may damage."""
    return Path(shutil.copytree(base_folder("qwen3-vl"), tmp_path / "base"))


def without(folder: Path, *names: str) -> str:
    for name in names:
        (folder / name).unlink(missing_ok=True)
    return str(folder)


def test_a_sound_base_is_opened(folder: Path) -> None:
    opened = open_base(str(folder))
    assert (opened.id, opened.revision) == (str(folder), "")
    assert opened.family.pooling == "Qwen3VLForSequenceClassification"


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (["config.json"], "has no readable config.json"),
        (["tokenizer.json", "vocab.json", "merges.txt"], "has no tokenizer; copy"),
        (["processor_config.json", "preprocessor_config.json"], "has no image processor; copy"),
        (["model.safetensors"], "has no weights as safetensors; save"),
        (["chat_template.jinja"], "has no chat template; take the instruct version"),
    ],
)
def test_what_a_base_lacks_is_named(folder: Path, missing: list[str], message: str) -> None:
    with pytest.raises(FinetuneError, match=message) as refused:
        open_base(without(folder, *missing))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("processor_config.json", b"{", "processor_config.json can't be read .*: copy it from the model again"),
        ("processor_config.json", b"\xff\xfe", "processor_config.json can't be read"),
        ("processor_config.json", b"5", "has no image processor"),
        ("model.safetensors", b"", "is no safetensors file, or is cut short"),
        ("model.safetensors", b"\xff" * 100, "is no safetensors file, or is cut short"),
        ("model.safetensors.index.json", b'{"weight_map": {"a": "model-2.safetensors"}}', "lacks model-2.safetensors"),
    ],
)
def test_a_damaged_file_of_a_base_is_named(folder: Path, name: str, content: bytes, message: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        open_base(str(folder))


def test_weights_that_were_not_copied_to_the_end_are_named(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(UserError, match="copy it again"):
        open_base(str(folder))


def test_another_architecture_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}))
    with pytest.raises(FinetuneError, match="architecture llama; choose a base of gemma3, llava_next"):
        open_base(str(folder))


def test_a_name_that_is_neither_folder_nor_id_is_refused() -> None:
    with pytest.raises(FinetuneError, match="neither a folder nor a hub id"):
        open_base("no-such-folder")


def test_a_hub_id_without_a_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FinetuneError, match="without a network, copy the model to this machine") as refused:
        open_base("some/model")
    assert "\n" not in str(refused.value)


def test_a_folder_has_no_revision(folder: Path) -> None:
    with pytest.raises(FinetuneError, match="leave out --revision"):
        open_base(str(folder), "main")


def test_two_bases_with_other_weights_have_other_digests(folder: Path, base_folder: Folder) -> None:
    same = open_base(str(folder)).digest
    assert same == open_base(str(base_folder("qwen3-vl"))).digest
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    assert open_base(str(folder)).digest != same


def test_data_without_pictures_needs_the_option(prepared: Prepared, shop: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(shop, tmp_path / "texts"))
    lines = [json.loads(line) for line in (data / "items.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("image", None)
    (data / "items.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(DatasetError, match="--no-pictures"):
        prepared(data=data)
    assert prepared(data=data, pictures=False).pairs


def test_a_missing_picture_is_refused_before_the_training(prepared: Prepared, shop: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(shop, tmp_path / "other"))
    next((other / "images").iterdir()).unlink()
    with pytest.raises(DatasetError, match="1 items name a picture that is not in images/"):
        prepared(data=other)
    assert prepared(data=other, pictures=False)


def test_users_who_are_copies_of_training_users_are_refused(prepared: Prepared, shop: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(shop, tmp_path / "copies"))
    header, *rows = (data / "interactions.csv").read_text().splitlines()
    copies = [f"copy-of-{row}" for row in rows]
    (data / "interactions.csv").write_text("\n".join([header, *rows, *copies]) + "\n")
    with pytest.raises(DatasetError, match="history of a user of another split"):
        prepared(data=data)


def test_prompts_that_are_too_long_are_refused(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = prepared()
    monkeypatch.setattr(type(setup.base.config.get_text_config()), "max_position_embeddings", 64, raising=False)
    text = setup.base.config.get_text_config()
    monkeypatch.setattr(text, "max_position_embeddings", 64)
    with pytest.raises(FinetuneError, match="reads 64; use a smaller --picture-side"):
        require_length(setup.base, setup.longest)
