"""vLLM scores a fine-tuned checkpoint as the training did."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from model_store.msr.finetune.finetune import finetune
from model_store.registry.registry import Registry
from tests.model_store.msr.finetune.conftest import OPTIONS

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("name", ["qwen3-vl", "qwen2.5-vl"])
def test_a_version_is_registered_after_vllm_scored_it_like_the_training(
    base_folder: Callable[[str], Path], shop: Path, tmp_path: Path, name: str
) -> None:
    """One architecture whose head vLLM finds by its Qwen3 flag, one by `from_2_way_softmax`; both with pictures."""
    options = replace(OPTIONS, check_vllm=True)
    finetune(str(base_folder(name)), shop, tmp_path, name="shop-ranker", options=options)
    parity = Registry(tmp_path).get("shop-ranker").evaluation["parity"]
    assert parity["vllm"] < 1e-3
