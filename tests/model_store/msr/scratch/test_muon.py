"""Muon is torch's in a chosen precision; a training step multiplies in the precision that suits the processor."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from model_store.data.dataset import read_dataset
from model_store.msr.scratch import train
from model_store.msr.scratch.examples import ExampleOptions
from model_store.msr.scratch.muon import Muon, orthogonalized
from model_store.msr.scratch.train import TrainOptions, shortfall
from model_store.progress import quiet
from tests.model_store.msr.conftest import TINY

MATRICES = {"aten.mm", "aten.addmm", "aten.bmm", "aten.baddbmm"}


class Products(TorchDispatchMode):
    """Counts the types in which matrices are multiplied."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: Counter[torch.dtype] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if str(func).rsplit(".", 1)[0] in MATRICES:
            self.dtypes[args[-1].dtype] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (7, 7)])
def test_steps_are_those_of_torch(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    ours, theirs = (torch.nn.Parameter(torch.ones(shape)) for _ in range(2))
    mine = Muon([{"params": [ours]}], dtype=torch.bfloat16, learning_rate=0.02, weight_decay=0.05)
    reference = torch.optim.Muon([theirs], lr=0.02, weight_decay=0.05)
    for _ in range(5):
        ours.grad = torch.randn(shape)
        theirs.grad = ours.grad.clone()
        mine.step()
        reference.step()
    # Newton-Schulz steps in bfloat16 differ in the last of its 8 bits by the order of the additions.
    assert torch.allclose(ours, theirs, atol=2e-3)


def test_singular_values_come_near_one() -> None:
    torch.manual_seed(1)
    values = torch.linalg.svdvals(orthogonalized(torch.randn(12, 20), torch.float32))
    assert 0.5 < values.min() <= values.max() < 1.4


@pytest.mark.parametrize("units", [True, False])
def test_training_multiplies_in_bfloat16_only_where_the_processor_has_units_for_it(
    units: bool, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "multiplies_bfloat16", lambda: units)
    options = TrainOptions(steps=1, tokens=500, sizes=TINY, examples=ExampleOptions(candidates=4))
    with Products() as seen:
        train.fit(read_dataset(world), options, quiet)
    assert (torch.bfloat16 in seen.dtypes) is units
    assert seen.dtypes.total() > 100


def test_a_run_far_below_the_steps_of_its_recipe_registers_with_a_warning(world: Path, tmp_path: Path) -> None:
    options = TrainOptions(steps=1, tokens=500, sizes=TINY, examples=ExampleOptions(candidates=4))
    for manifest in train.train(world, tmp_path, name="short", options=options):
        assert "1 steps of about 2000" in manifest.training.warning
    enough = train.train(world, tmp_path, name="enough", options=replace(options, needed_steps=1))
    assert [manifest.training.warning for manifest in enough] == ["", ""]


def test_a_run_far_below_the_steps_of_its_recipe_says_so() -> None:
    warning = shortfall(80, 1200.0, 2000)
    assert warning.startswith("80 steps of about 2000 that this recipe needs, at 15.0 s each")
    assert "--steps 2000" in warning
    assert shortfall(1000, 1200.0, 2000) == ""
