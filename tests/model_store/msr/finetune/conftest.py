"""Tiny bases of every architecture, a dataset folder with pictures, and options for runs of seconds."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model_store.data.dataset import read_dataset
from model_store.demo.world import generate
from model_store.msr.finetune.base import Base, open_base
from model_store.msr.finetune.options import FinetuneOptions
from model_store.msr.finetune.setup import Setup, prepare
from model_store.pictures import PictureSize
from model_store.progress import quiet
from model_store.signals import BUILT_IN
from tests.tiny_bases import BASES

OPTIONS = FinetuneOptions(
    max_steps=4,
    batch_size=4,
    learning_rate=1e-2,
    warmup=0,
    precision="float32",
    picture=PictureSize(64, 64, "contain"),
    validation_users=2,
    validation_negatives=3,
    evaluations=2,
    check_vllm=False,
)

Folder = Callable[[str], Path]
Prepared = Callable[..., Setup]


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dataset folder with users in every split."""
    folder = tmp_path_factory.mktemp("shop")
    generate(folder, seed=3, items=40, users=60, picture_side=64, events=(8, 24))
    splits = {len(read_dataset(folder).users(split)) > 1 for split in ("train", "validation")}
    assert splits == {True}
    return folder


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The folder of a tiny base, which tests must not change."""
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            BASES[name](made[name])
        return made[name]

    return make


@pytest.fixture(scope="session")
def base(base_folder: Folder) -> Callable[[str], Base]:
    return lambda name: open_base(str(base_folder(name)))


@pytest.fixture(scope="session")
def prepared(base: Callable[[str], Base], shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A run before its start."""

    def make(name: str = "qwen3-vl", data: Path | None = None, **changes: Any) -> Setup:
        prompts = tmp_path_factory.mktemp("prompts")
        return prepare(base(name), data or shop, prompts, BUILT_IN, replace(OPTIONS, **changes), quiet)

    return make
