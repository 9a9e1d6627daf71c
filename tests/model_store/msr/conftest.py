"""A tiny checkpoint with random weights, and a dataset folder with pictures."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model_store.data.dataset import read_dataset
from model_store.demo.world import generate
from model_store.msr.scratch.architecture import Sizes, read_checkpoint
from model_store.msr.scratch.catalogue import Catalogue
from model_store.msr.scratch.encoding import Encoder
from model_store.prompts import PromptSet
from tests.tiny_model import tiny_qwen3_vl

TINY = Sizes(
    vocabulary=600, hidden=64, layers=2, heads=2, kv_heads=1, head_dim=32, mlp=96,
    vision_hidden=32, vision_layers=2, vision_heads=2, vision_mlp=64,
)  # fmt: skip


@dataclass(frozen=True)
class Tiny:
    """A loaded tiny model with its processor, encoder and catalogue."""

    model: Any
    processor: Any
    encoder: Encoder
    catalogue: Catalogue
    sizes: Sizes


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """On a busy machine, threads that share so little work mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    generate(folder, seed=3, items=80, users=60, picture_side=64)
    return folder


@pytest.fixture(scope="session")
def tiny(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    folder = tmp_path_factory.mktemp("tiny")
    catalogue = Catalogue(read_dataset(world), TINY.picture)
    tiny_qwen3_vl(folder, [f"like: {view.title} | {view.summary}" for view in catalogue.views], TINY)
    model, processor = read_checkpoint(folder)
    encoder = Encoder(processor.tokenizer, PromptSet.built_in("compact"), TINY)
    assert catalogue.pixels.dtype == np.uint8
    return Tiny(model, processor, encoder, catalogue, TINY)
