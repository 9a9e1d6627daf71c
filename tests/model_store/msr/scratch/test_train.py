"""A few optimizer steps, from a dataset folder to two registered versions."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from model_store.cooccurrence import read_cooccurrence
from model_store.data.dataset import Dataset, DatasetError, read_dataset, user_split
from model_store.evaluate.item_models import learn_item_models
from model_store.item_models.item_models import ITEM_MODELS
from model_store.msr.scratch.architecture import Sizes, read_checkpoint
from model_store.msr.scratch.examples import ExampleOptions
from model_store.msr.scratch.train import TrainOptions, fit, train
from model_store.progress import quiet
from model_store.registry.manifest import Manifest, ManifestError
from model_store.registry.registry import Registry
from tests.model_store.msr.conftest import TINY

OPTIONS = TrainOptions(steps=3, tokens=500, sizes=TINY, examples=ExampleOptions(candidates=4), bf16=False)


def weights(dataset: Dataset, options: TrainOptions = OPTIONS) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = fit(dataset, options, quiet).model.state_dict()
    return state


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("name", ["My data", "a/b", "../a", "", "x" * 60])
def test_a_name_that_no_model_can_have_is_refused_before_training(world: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ManifestError, match="can't be a model's name"):
        train(world, tmp_path, name=name, options=OPTIONS, progress=pytest.fail)


def test_a_store_that_cannot_be_written_is_named_before_training(world: Path, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(ManifestError, match="store can't be written: File exists"):
        train(world, tmp_path / "store", name="trial", options=OPTIONS, progress=pytest.fail)


def test_a_dataset_that_can_not_be_trained_on_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").write_text('{"item_id": "a", "title": "A", "image": "gone.png"}\n')
    rows = "".join(f"u{user},{item},{time}\n" for user in range(9) for time, item in enumerate("ba"))
    (tmp_path / "interactions.csv").write_text("user_id,item_id,timestamp\n" + rows)
    with pytest.raises(DatasetError, match="1 items name a picture that is not in images/"):
        train(tmp_path, tmp_path / "store", name="trial", options=OPTIONS)


def test_both_versions_are_registered_and_load(world: Path, tmp_path: Path) -> None:
    finished: list[str] = []
    ranker, summarizer = train(
        world,
        tmp_path,
        name="trial",
        options=OPTIONS,
        progress=lambda stage, done, note: finished.append(stage) if done == 1 else None,
    )
    registry = Registry(tmp_path)
    assert registry.get("trial-ranker") == ranker
    assert registry.local_folder(ranker) == registry.local_folder(summarizer)
    assert ranker.labels is not None
    assert registry.cooccurrence(ranker) is not None
    model, processor = read_checkpoint(registry.local_folder(ranker))
    assert processor.tokenizer.decode([ranker.labels.yes_id, ranker.labels.no_id]) == "yesno"
    assert sum(weight.numel() for weight in model.parameters()) == ranker.training.parameters
    for board in ranker.evaluation["validation_auc"].values():
        assert set(board) == {"mllm", "collaborative", "popular", *ITEM_MODELS, "blend"}
    assert {"popular", "uniform"} <= set(ranker.evaluation["validation_auc"])
    assert finished == [
        "training",
        "item weights",
        "item vectors",
        "validating: summaries",
        "validating: scores",
        "registered",
    ]


def test_a_second_run_adds_a_version(world: Path, tmp_path: Path) -> None:
    for expected in (1, 2):
        ranker, summarizer = train(world, tmp_path, name="trial", options=OPTIONS)
        assert (ranker.version, summarizer.version) == (expected, expected)


def test_runs_that_end_at_the_same_time_have_different_numbers(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, others = Registry.add, list[int]()

    def meanwhile(self: Registry, *given: Any, **more: Any) -> Manifest:
        others.append(self.reserve("trial-summarizer", "trial-ranker"))
        return add(self, *given, **more)

    monkeypatch.setattr(Registry, "add", meanwhile)
    ranker, summarizer = train(world, tmp_path, name="trial", options=OPTIONS)
    assert (ranker.version, summarizer.version, others) == (1, 1, [2, 3])


def test_the_same_seed_trains_the_same_weights_and_another_does_not(world: Path) -> None:
    dataset = read_dataset(world)
    assert same(weights(dataset), weights(dataset))
    assert not same(weights(dataset), weights(dataset, replace(OPTIONS, seed=1)))


def test_held_out_users_do_not_change_the_model(world: Path, tmp_path: Path) -> None:
    dataset = read_dataset(world)
    without = {user: events for user, events in dataset.histories.items() if user_split(user) == "train"}
    assert len(without) < len(dataset.histories)
    assert same(weights(dataset), weights(Dataset(dataset.items, without)))
    ranker, _ = train(world, tmp_path, name="trial", options=OPTIONS)
    liked = [event.item_id for events in without.values() for event in events if event.liked]
    cooccurrence = read_cooccurrence(tmp_path / ranker.cooccurrence)
    assert sum(cooccurrence.counts.values()) == len(liked)
    assert Registry(tmp_path).item_models(ranker) == learn_item_models(dataset)


def test_a_dataset_without_pictures_is_trained_on_words(tmp_path: Path) -> None:
    items = "\n".join(f'{{"item_id": {n}, "title": "funny cat {n}", "tags": ["cat"]}}' for n in range(40))
    (tmp_path / "items.jsonl").write_text(items)
    rows = [f"{user},{(user + step) % 40},{step}" for user in range(60) for step in range(6)]
    (tmp_path / "interactions.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows))
    ranker, _ = train(tmp_path, tmp_path / "store", name="words", options=OPTIONS)
    tensors = load_file(Registry(tmp_path / "store").local_folder(ranker) / "model.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())


def test_prompts_that_are_all_too_long_are_refused(world: Path) -> None:
    dataset = read_dataset(world)
    options = replace(OPTIONS, examples=replace(OPTIONS.examples, max_tokens=8))
    with pytest.raises(DatasetError, match="or a prompt fits into 8 tokens: shorten the texts"):
        fit(dataset, options, quiet)


def test_a_dataset_without_histories_is_refused(world: Path) -> None:
    with pytest.raises(DatasetError, match="nothing to learn"):
        fit(Dataset(read_dataset(world).items, {}), OPTIONS, quiet)


def test_pictures_must_fit_the_patches() -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        Sizes(picture=replace(TINY.picture, width=60))
