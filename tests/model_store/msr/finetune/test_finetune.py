"""From a base to a registered version, and from an interruption to the same weights."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from model_store.item_models.item_models import ITEM_MODELS
from model_store.msr.finetune import FinetuneError
from model_store.msr.finetune.finetune import finetune, make_trainer, train
from model_store.msr.finetune.setup import Setup
from model_store.msr.finetune.trainer import ProgressCallback, RankingTrainer
from model_store.progress import quiet
from model_store.registry.registry import Registry
from tests.model_store.msr.finetune.conftest import OPTIONS
from tests.tiny_bases import BASES

Folder = Callable[[str], Path]
Prepared = Callable[..., Setup]
LINEAR = 14
"""Linear layers of the language model of a tiny base: seven in each of two layers."""


@pytest.mark.parametrize("name", BASES)
def test_a_base_becomes_a_version(base_folder: Folder, shop: Path, tmp_path: Path, name: str) -> None:
    options = replace(OPTIONS, keep_adapter=True)
    written = finetune(str(base_folder(name)), shop, tmp_path, name="shop-ranker", options=options)
    assert written is not None
    registry = Registry(tmp_path)
    manifest = registry.get("shop-ranker")
    weights = registry.local_folder(manifest)
    assert manifest == written
    assert manifest.base == str(base_folder(name))
    assert manifest.evaluation["merge"]["changed_tensors"] == LINEAR
    assert manifest.evaluation["parity"]["merged"] < 0.01
    assert set(manifest.evaluation["validation_auc"]) == {"auc", "auc_uniform", "auc_popular"}
    assert manifest.evaluation["calibration"]["temperature"] > 0
    assert manifest.probe is not None
    assert manifest.labels is not None
    assert manifest.training.steps == OPTIONS.max_steps
    assert registry.cooccurrence(manifest) is not None
    assert registry.item_models(manifest).present().keys() == ITEM_MODELS.keys()
    assert (tmp_path / "shop-ranker" / "1" / "adapter" / "adapter_model.safetensors").is_file()
    assert not (tmp_path / "shop-ranker" / "finetuning").exists()
    assert (weights / "chat_template.jinja").is_file()
    assert load_file(weights / "model.safetensors").keys() == load_file(base_folder(name) / "model.safetensors").keys()


def adapter(work: Path, step: int) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(work / f"checkpoint-{step}" / "adapter_model.safetensors")
    return found


def test_an_interrupted_run_ends_with_the_weights_of_a_straight_one(
    prepared: Prepared, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = prepared(max_steps=6, dropout=0.2)
    train(setup, shop, tmp_path / "straight", resume=False)

    def interrupt(self: Any, args: Any, state: Any, control: Any, **others: Any) -> None:
        if state.global_step == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ProgressCallback, "on_step_end", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(setup, shop, tmp_path / "resumed", resume=False)
    trainer = train(setup, shop, tmp_path / "resumed", resume=True)
    assert trainer.state.global_step == 6
    straight, resumed = (adapter(tmp_path / run, 6) for run in ("straight", "resumed"))
    assert straight.keys() == resumed.keys()
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)
    before = adapter(tmp_path / "resumed", 3)
    assert not all(torch.equal(before[name], resumed[name]) for name in before), "nothing was learned after step 3"


def test_only_the_language_model_learns(prepared: Prepared, tmp_path: Path) -> None:
    trainer = make_trainer(prepared("llava-next"), tmp_path, quiet)
    learning = [name for name, weight in trainer.model.named_parameters() if weight.requires_grad]
    assert len(learning) == 2 * LINEAR
    assert all("language_model" in name and "lora" in name for name in learning)


def test_a_run_ends_when_validation_does_not_improve(
    prepared: Prepared, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = prepared(max_steps=6, evaluations=6, patience=2)
    aucs = iter([0.6, 0.9, 0.8, 0.7, 0.95, 0.95])
    monkeypatch.setattr(type(setup.validation), "measure", lambda self, margins: {"auc": next(aucs)})
    trainer = train(setup, shop, tmp_path, resume=False)
    assert (trainer.state.global_step, trainer.state.best_global_step) == (4, 2)
    best = adapter(tmp_path, 2)
    kept = {name.replace(".default", ""): weight for name, weight in trainer.model.named_parameters() if "lora" in name}
    assert all(torch.equal(kept[name], best[name]) for name in best), "the model is not the best checkpoint"


def test_one_evaluation_is_at_the_end(
    prepared: Prepared, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, aucs = prepared(max_steps=3, evaluations=1, patience=1), iter([0.9, 0.8, 0.7])
    monkeypatch.setattr(type(setup.validation), "measure", lambda self, margins: {"auc": next(aucs)})
    trainer = train(setup, shop, tmp_path, resume=False)
    assert trainer.state.global_step == 3
    assert next(aucs) == 0.8


@pytest.mark.parametrize("interrupted_at", [4, 5])
def test_a_resumed_run_has_no_more_patience_than_a_straight_one(
    prepared: Prepared, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted_at: int
) -> None:
    setup = prepared(max_steps=8, evaluations=8, patience=3)
    aucs = iter([0.6, 0.9, 0.8, 0.7, 0.6, 0.6, 0.95, 0.95])
    monkeypatch.setattr(type(setup.validation), "measure", lambda self, margins: {"auc": next(aucs)})
    evaluate = RankingTrainer._save_checkpoint

    def interrupt(self: Any, *arguments: Any) -> None:
        evaluate(self, *arguments)
        if self.state.global_step == interrupted_at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RankingTrainer, "_save_checkpoint", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(setup, shop, tmp_path, resume=False)
    trainer = train(setup, shop, tmp_path, resume=True)
    assert trainer.state.best_global_step == 2
    assert next(aucs) == 0.6, "it was validated again after its end"
    best = adapter(tmp_path, 2)
    kept = {name.replace(".default", ""): weight for name, weight in trainer.model.named_parameters() if "lora" in name}
    assert all(torch.equal(kept[name], best[name]) for name in best), "the model is not the best checkpoint"


def test_a_run_that_diverges_says_what_helps(prepared: Prepared, shop: Path, tmp_path: Path) -> None:
    setup = prepared(max_steps=2, evaluations=1)
    trainer = make_trainer(setup, tmp_path, quiet)
    with torch.no_grad():
        next(weight for weight in trainer.model.parameters() if weight.requires_grad).fill_(float("nan"))
    with pytest.raises(FinetuneError, match=r"has diverged\. Use a smaller --learning-rate"):
        trainer.score(setup.validation.prompts)


def test_a_second_run_does_not_overwrite_an_unfinished_one(prepared: Prepared, shop: Path, tmp_path: Path) -> None:
    setup = prepared(max_steps=1, evaluations=1)
    train(setup, shop, tmp_path, resume=False)
    with pytest.raises(FinetuneError, match="--resume"):
        train(setup, shop, tmp_path, resume=False)
