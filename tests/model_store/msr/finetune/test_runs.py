"""The folder of a run: only the same run continues from its checkpoints."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model_store.msr.finetune import FinetuneError
from model_store.msr.finetune.base import Base
from model_store.msr.finetune.runs import close_run, data_digest, open_run, record
from tests.model_store.msr.finetune.conftest import OPTIONS

BaseOf = Callable[[str], Base]
RUN = {"base": "b", "architecture": "qwen3_vl", "data": "d", "learning_rate": 0.1}


@pytest.fixture
def unfinished(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    assert open_run(folder, RUN, resume=False) is None
    for step in (9, 10):
        (folder / f"checkpoint-{step}").mkdir()
        (folder / f"checkpoint-{step}/trainer_state.json").write_text("{}")
    return folder


def test_the_newest_checkpoint_is_resumed(unfinished: Path) -> None:
    assert open_run(unfinished, RUN, resume=True) == unfinished / "checkpoint-10"


@pytest.mark.parametrize("state", [None, "", '{"step": '])
def test_a_checkpoint_that_was_not_finished_is_none(unfinished: Path, state: str | None) -> None:
    for step in ("11", "12-old"):
        (unfinished / f"checkpoint-{step}").mkdir()
        if state is not None:
            (unfinished / f"checkpoint-{step}/trainer_state.json").write_text(state)
    assert open_run(unfinished, RUN, resume=True) == unfinished / "checkpoint-10"
    for step in (9, 10):
        shutil.rmtree(unfinished / f"checkpoint-{step}")
    with pytest.raises(FinetuneError, match="leave out --resume"):
        open_run(unfinished, RUN, resume=True)
    assert open_run(unfinished, RUN, resume=False) is None
    assert [path.name for path in unfinished.iterdir()] == ["run.json"]


def test_a_folder_with_other_files_is_refused_because_a_run_deletes_its_own(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(FinetuneError, match="is not empty, and no folder of a run: name a new one"):
        open_run(tmp_path, RUN, resume=False)
    with pytest.raises(FinetuneError, match=r"notes can't be written: Not a directory \(--work-dir\)"):
        open_run(tmp_path / "notes", RUN, resume=False)
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "gemma3"}, "architecture qwen3_vl, not gemma3"),
        ({"data": "other"}, "another data"),
        ({"base": "other"}, "another base"),
        ({"learning_rate": 0.2}, "learning_rate 0.1, not 0.2"),
    ],
)
def test_another_run_is_not_resumed(unfinished: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(FinetuneError, match=message):
        open_run(unfinished, {**RUN, **change}, resume=True)


def test_an_unfinished_run_is_not_overwritten(unfinished: Path) -> None:
    with pytest.raises(FinetuneError, match="continue it with --resume, or delete the folder"):
        open_run(unfinished, RUN, resume=False)


def test_nothing_to_resume_is_said(tmp_path: Path) -> None:
    with pytest.raises(FinetuneError, match="leave out --resume"):
        open_run(tmp_path, RUN, resume=True)


def test_a_damaged_record_is_said(unfinished: Path) -> None:
    (unfinished / "run.json").write_text("{")
    with pytest.raises(FinetuneError, match="delete the folder and start again"):
        open_run(unfinished, RUN, resume=True)


def test_a_closed_run_leaves_nothing(unfinished: Path) -> None:
    close_run(unfinished)
    assert not unfinished.exists()


def test_only_what_changes_the_weights_is_recorded(base: BaseOf, shop: Path) -> None:
    first = record(base("qwen3-vl"), shop, OPTIONS, 1)
    assert record(base("qwen3-vl"), shop, replace(OPTIONS, keep_adapter=True, check_vllm=True), 1) == first
    assert record(base("qwen3-vl"), shop, replace(OPTIONS, rank=4), 1) != first
    assert record(base("qwen3-vl"), shop, OPTIONS, 2) != first
    assert json.loads(json.dumps(first)) == first


def test_changed_data_has_another_digest(shop: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(shop, tmp_path / "other"))
    assert data_digest(other) == data_digest(shop)
    with (other / "interactions.csv").open("a") as rows:
        rows.write("someone,item-0001,1,,like\n")
    assert data_digest(other) != data_digest(shop)
