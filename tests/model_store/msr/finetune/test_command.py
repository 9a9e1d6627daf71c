"""`tastestream models finetune`: its output, and how it refuses."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from model_store.msr.finetune.trainer import RankingTrainer
from model_store.registry.registry import Registry
from service.cli.main import main

Folder = Callable[[str], Path]
Run = Callable[..., tuple[int, str]]
SHORT = ("--steps", "2", "--evaluations", "1", "--batch-size", "2", "--learning-rate", "0.01")
PLAIN = ("--picture-side", "64", "--precision", "float32", "--no-vllm-check", "--validation-users", "1")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs the command; returns its exit status and what it printed."""
    monkeypatch.setenv("TASTESTREAM_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "300")

    def start(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["tastestream", "models", "finetune", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capfd.readouterr()
        return int(ended.value.code or 0), printed.out + printed.err

    return start


def test_a_version_is_registered_and_named(run: Run, base_folder: Folder, shop: Path, tmp_path: Path) -> None:
    base = str(base_folder("qwen3-vl"))
    code, printed = run("--base", base, "--data", str(shop), "--name", "shop", *SHORT, *PLAIN)
    assert code == 0, printed
    assert f"registered shop-ranker@1 in {tmp_path / 'models'}" in printed
    assert "step 2 of 2" in printed
    manifest = Registry(tmp_path / "models").get("shop-ranker")
    assert manifest.training.command.startswith("tastestream models finetune --base")


def test_a_wrong_base_ends_in_one_line(run: Run, shop: Path) -> None:
    code, printed = run("--base", "nowhere", "--data", str(shop))
    assert (code, printed.count("\n")) == (1, 1)
    assert printed.startswith("error: nowhere is neither a folder nor a hub id")


def test_the_command_finds_its_packages_in_a_process_of_its_own(shop: Path) -> None:
    command = [sys.executable, "-m", main.__module__, "models", "finetune", "--base", "nowhere", "--data", str(shop)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr.startswith("error: nowhere is neither a folder nor a hub id"), done.stderr


def test_other_processes_than_the_main_one_print_nothing(run: Run, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    assert run("--base", "nowhere", "--data", str(shop)) == (1, "")


def test_without_the_extra_it_is_named(run: Run, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    code, printed = run("--base", "nowhere", "--data", str(shop))
    assert code == 1
    assert "pip install 'tastestream[finetune]'" in printed


def test_several_gpus_need_a_launcher(run: Run, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    code, printed = run("--base", "nowhere", "--data", str(shop))
    assert code == 1
    assert "accelerate launch --num_processes 4" in printed


def test_running_out_of_memory_says_what_helps(
    run: Run, base_folder: Folder, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: RankingTrainer, **arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(RankingTrainer, "train", fail)
    code, printed = run("--base", str(base_folder("qwen3-vl")), "--data", str(shop), *SHORT, *PLAIN)
    assert code == 1
    assert "a smaller --batch-size with more --accumulate" in printed
