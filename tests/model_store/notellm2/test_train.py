"""Training of a tiny embedder: an interruption changes nothing, and what can't work is refused before the work."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model_store.data.dataset import Dataset, DatasetError
from model_store.errors import UserError
from model_store.msr.parts.lora import LanguageModelError, LoraSizes
from model_store.msr.parts.publish import MergeError
from model_store.msr.parts.run_state import RunError
from model_store.notellm2.command import embed_dataset
from model_store.notellm2.features import look_at_all
from model_store.notellm2.offline import OfflineEmbedder
from model_store.notellm2.publish import register_embedder, require_same
from model_store.notellm2.tokens import READ
from model_store.notellm2.train import TrainedEmbedder
from model_store.notellm2.vision import BUILTIN
from model_store.progress import quiet
from model_store.registry.manifest import Manifest, Training
from model_store.registry.registry import Registry
from model_store.retrieval.cold import is_cold
from tests.model_store.msr.parts.conftest import tiny_tokenizer, write_language_model
from tests.model_store.notellm2.conftest import STEPS, started


class Interrupted(Exception):
    pass


def test_an_interrupted_run_ends_with_the_same_weights(
    dataset: Dataset, trained: TrainedEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = started(dataset, tmp_path)
    taken = first._step

    def step(done: float) -> float:
        if first.state.step == STEPS - 1:
            first.save()
            raise Interrupted
        return taken(done)

    monkeypatch.setattr(first, "_step", step)
    with pytest.raises(Interrupted):
        first.train()
    again = started(dataset, tmp_path)
    assert again.state.step == STEPS - 1
    ended = again.train()
    for name, weight in trained.model.state_dict().items():
        torch.testing.assert_close(ended.model.state_dict()[name], weight, msg=name)
    assert ended.measured == trained.measured


def test_the_written_version_makes_the_vectors_of_the_training(
    dataset: Dataset, trained: TrainedEmbedder, registered: tuple[Registry, Manifest], tmp_path: Path
) -> None:
    registry, manifest = registered
    assert (manifest.id, manifest.role, manifest.embedding and manifest.embedding.read_token) == (
        "shop-embedder@1",
        "embedder",
        READ,
    )
    ids, vectors = OfflineEmbedder.load(registry, manifest).embed(dataset, tmp_path)
    assert ids == list(dataset.items)
    with torch.inference_mode():
        expected = trained.model(*trained.items.batch(range(len(ids)), [True] * len(ids))).whole.numpy()
    assert float(np.min(np.sum(vectors * expected, axis=1))) > 0.999
    words = OfflineEmbedder.load(registry, manifest).embed(dataset, tmp_path, picture=False)[1]
    assert float(np.max(np.sum(words * expected, axis=1))) < 0.9999


def test_pictures_that_the_training_looked_at_are_not_looked_at_again(
    dataset: Dataset,
    trained: TrainedEmbedder,
    registered: tuple[Registry, Manifest],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert trained.vision
    look_at_all(trained.vision, trained.items.catalogue.images, tmp_path, quiet)
    embedder = OfflineEmbedder.load(*registered)
    assert embedder.encoder

    def again(_pictures: object) -> None:
        raise AssertionError("a picture was looked at again")

    monkeypatch.setattr(embedder.encoder.vision, "encode", again)
    assert len(embedder.embed(dataset, tmp_path)[0]) == len(dataset.items)


def test_a_pretrained_model_learns_by_adapters_of_its_first_layers(dataset: Dataset, tmp_path: Path) -> None:
    write_language_model(tmp_path / "llm", tiny_tokenizer(), layers=3)
    run = started(
        dataset, tmp_path / "run", str(tmp_path / "llm"), layers=2, adapter=LoraSizes(rank=2, alpha=4), bf16=False
    )
    assert run.model.llm.get_base_model().config.num_hidden_layers == 2
    trained = run.train()
    learned = {name for name, weight in trained.model.named_parameters() if weight.requires_grad and "llm" in name}
    assert learned
    assert all("lora" in name for name in learned)
    origin = Training(command="a test", data="shop")
    manifest = register_embedder(trained, origin, vision=BUILTIN, store=tmp_path / "store", name="tiny", progress=quiet)
    assert manifest.base.startswith("llm and builtin")


def test_a_written_model_that_differs_is_refused(
    trained: TrainedEmbedder, registered: tuple[Registry, Manifest], tmp_path: Path
) -> None:
    registry, manifest = registered
    weights = registry.local_folder(manifest)
    require_same(trained, weights)
    model = copy.deepcopy(trained.model)
    torch.nn.init.normal_(model.llm.model.layers[0].mlp.down_proj.weight)
    with pytest.raises(MergeError, match="differ"):
        require_same(replace(trained, model=model), weights)


def test_hidden_items_are_in_no_pair(dataset: Dataset, tmp_path: Path) -> None:
    run = started(dataset, tmp_path, cold_share=0.3)
    hidden = {item for item in dataset.items if is_cold(item, 0, 0.3)}
    assert 0.1 * len(dataset.items) < len(hidden) < 0.5 * len(dataset.items)
    assert not hidden & set(run.pairs.items)
    assert len(run.pairs) > 0


@pytest.mark.parametrize(
    ("changed", "error", "why"),
    [
        ({"pairs": 100_000}, DatasetError, "at least 100000"),
        ({"base": "nowhere"}, LanguageModelError, r"config\.json"),
    ],
)
def test_what_can_not_work_is_refused_before_the_training(
    dataset: Dataset, tmp_path: Path, changed: dict[str, Any], error: type[UserError], why: str
) -> None:
    with pytest.raises(error, match=why):
        started(dataset, tmp_path, **changed)


def test_a_run_goes_on_only_with_the_same_options(dataset: Dataset, tmp_path: Path) -> None:
    started(dataset, tmp_path).save()
    with pytest.raises(RunError, match="set of options"):
        started(dataset, tmp_path, late_fusion=False)


def test_a_loss_that_is_no_number_ends_the_run(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = started(dataset, tmp_path)
    monkeypatch.setattr("model_store.notellm2.train.info_nce", lambda *_: torch.tensor(float("nan")))
    with pytest.raises(RunError, match="diverged"):
        run.train()


def test_weights_that_are_no_numbers_are_never_the_best(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = started(dataset, tmp_path, validations=1)
    taken = run._step

    def step(done: float) -> float:
        loss = taken(done)
        if run.state.step == STEPS - 1:
            torch.nn.init.constant_(run.model.project.weight, torch.nan)
        return loss

    monkeypatch.setattr(run, "_step", step)
    with pytest.raises(RunError, match="vectors after step 6 are no numbers, the training has diverged"):
        run.train()


def test_a_single_picture_and_items_that_are_all_the_same_are_no_trouble(dataset: Dataset, tmp_path: Path) -> None:
    image = next(item.image for item in dataset.items.values() if item.image)
    plain = [replace(item, title="", description="", genres=(), tags=(), image=None) for item in dataset.items.values()]
    same = Dataset({item.item_id: item for item in (replace(plain[0], image=image), *plain[1:])}, dataset.histories)
    trained = started(same, tmp_path).train()
    assert trained.measured["AUC"] == pytest.approx(0.5, abs=0.05)
    assert all(weight.isfinite().all() for weight in trained.model.state_dict().values())


def test_a_data_set_without_pictures_is_embedded_by_words(dataset: Dataset, shop: Path, tmp_path: Path) -> None:
    wordy = Dataset({name: replace(item, image=None) for name, item in dataset.items.items()}, dataset.histories)
    run = started(wordy, tmp_path / "run")
    assert run.vision is None
    trained = run.train()
    manifest = register_embedder(
        trained, Training(), vision=BUILTIN, store=tmp_path / "store", name="words", progress=quiet
    )
    assert manifest.picture_tokens is None
    with pytest.raises(UserError, match="words-embedder@1 was trained without pictures"):
        embed_dataset(shop, Registry(tmp_path / "store"), manifest, tmp_path / "out.npz", run=tmp_path, words=False)
