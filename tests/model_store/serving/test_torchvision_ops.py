"""torchvision can be imported in every process of vLLM, and its own operators are left alone."""

import subprocess
import sys
from importlib import metadata

import pytest


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)


def test_torchvision_is_importable_after_the_declaration() -> None:
    done = python("from model_store.serving.torchvision_ops import declare; declare(); declare(); import torchvision")
    assert done.returncode == 0, done.stderr


def test_operators_that_exist_are_left_alone() -> None:
    done = python(
        "import torch, torch.library as library\n"
        "for name in ('nms', 'qnms'):\n"
        "    library.define(f'torchvision::{name}', '(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')\n"
        "from model_store.serving.torchvision_ops import declare\n"
        "declare()"
    )
    assert done.returncode == 0, done.stderr


def test_vllm_declares_them_before_anything_else() -> None:
    declared = metadata.entry_points(group="vllm.platform_plugins", name="tastestream_torchvision")
    assert [point.value for point in declared] == ["model_store.serving.torchvision_ops:declare"]


@pytest.mark.parametrize("module", ["vllm.model_executor.models.registry"])
def test_the_processes_that_vllm_starts_by_itself_can_import_it(module: str) -> None:
    done = python(f"import {module}, torchvision")
    assert done.returncode == 0, done.stderr
