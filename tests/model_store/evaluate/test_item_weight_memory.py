"""Item weights that do not fit into memory are refused before a training, and limited after it."""

from pathlib import Path

import pytest

from model_store.data.dataset import Dataset
from model_store.evaluate import item_weights
from model_store.evaluate.ease import EaseMemoryError
from model_store.evaluate.item_weights import learn_item_weights, needed_bytes, require_item_weight_memory
from model_store.evaluate.likes import Likes
from model_store.evaluate.protocol import liked_by
from model_store.msr.scratch.train import TrainOptions, train
from tests.model_store.evaluate.worlds import world, write_world

ITEMS = 60


@pytest.fixture
def dataset() -> Dataset:
    return world(items=ITEMS)


def free(monkeypatch: pytest.MonkeyPatch, amount: int | None) -> None:
    monkeypatch.setattr(item_weights, "free_bytes", lambda: amount)


def test_the_need_grows_with_the_square_of_the_items() -> None:
    assert needed_bytes(18_700) == pytest.approx(1.7 * 2**30, rel=0.05)
    assert needed_bytes(40_000) > 3.5 * needed_bytes(20_000)


def test_what_does_not_fit_is_refused_with_the_remedy(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, needed_bytes(ITEMS) - 1)
    with pytest.raises(EaseMemoryError, match=r"of 60 liked items need about .* are free: .*--k-core 5"):
        require_item_weight_memory(dataset)
    require_item_weight_memory(dataset, max_items=ITEMS - 1)
    for enough in (needed_bytes(ITEMS), None):
        free(monkeypatch, enough)
        require_item_weight_memory(dataset)


def test_a_training_is_refused_before_it_begins(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    free(monkeypatch, 1000)
    monkeypatch.setattr("model_store.msr.scratch.train.fit", lambda *_: pytest.fail("it was trained"))
    with pytest.raises(EaseMemoryError):
        train(write_world(dataset, tmp_path / "data"), tmp_path / "store", name="trial", options=TrainOptions(steps=1))


def test_after_a_training_as_many_of_the_most_liked_items_get_weights_as_fit(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    likes, told = Likes(liked_by(dataset, "train")), list[str]()
    free(monkeypatch, needed_bytes(20) + 100)
    found = learn_item_weights(likes, lambda stage, done, note: told.append(note))
    assert found == learn_item_weights(likes, max_items=20)
    assert len(found.items) == 20
    assert all("20 items, of 60 that there is no memory for" in note for note in told)
    free(monkeypatch, None)
    assert len(learn_item_weights(likes).items) == ITEMS
