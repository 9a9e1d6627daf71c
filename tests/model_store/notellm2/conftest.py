"""A tiny embedder from scratch, trained for a few steps on a small world."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from model_store.data.dataset import Dataset, read_dataset
from model_store.demo.world import generate
from model_store.notellm2.base import SCRATCH, ScratchSizes
from model_store.notellm2.options import EmbedderOptions
from model_store.notellm2.publish import register_embedder
from model_store.notellm2.train import EmbedderRun, TrainedEmbedder
from model_store.notellm2.vision import BUILTIN
from model_store.progress import quiet
from model_store.registry.manifest import Manifest, Training
from model_store.registry.registry import Registry
from tests.second_version import served

STEPS = 6
OPTIONS = EmbedderOptions(
    steps=STEPS,
    pairs=8,
    dimensions=8,
    queries=2,
    inner=16,
    connector_layers=1,
    scratch=ScratchSizes(vocabulary=400, hidden=32, layers=2, heads=2, head_dim=32, mlp=48, positions=256),
    validations=2,
    validation_items=60,
)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small world as a dataset folder."""
    folder = tmp_path_factory.mktemp("shop")
    generate(folder, seed=3, items=80, users=60)
    return folder


@pytest.fixture(scope="session")
def dataset(shop: Path) -> Dataset:
    return read_dataset(shop)


def started(dataset: Dataset, folder: Path, base: str = SCRATCH, **changed: object) -> EmbedderRun:
    options = replace(OPTIONS, **changed)  # type: ignore[arg-type]
    return EmbedderRun(dataset, base, BUILTIN, folder, options, quiet)


@pytest.fixture(scope="session")
def trained(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> TrainedEmbedder:
    return started(dataset, tmp_path_factory.mktemp("run")).train()


@pytest.fixture(scope="session")
def registered(trained: TrainedEmbedder, tmp_path_factory: pytest.TempPathFactory) -> tuple[Registry, Manifest]:
    """The trained embedder in a model store."""
    store = tmp_path_factory.mktemp("embedders")
    manifest = register_embedder(
        trained, Training(command="a test", data="shop"), vision=BUILTIN, store=store, name="shop", progress=quiet
    )
    return Registry(store), manifest


@pytest.fixture(scope="session")
def embedder_server(registered: tuple[Registry, Manifest], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server of the trained embedder."""
    yield from served(*registered, tmp_path_factory.mktemp("embedder") / "vllm.log")
