"""Training of tiny parts: what learns, what an interruption changes (nothing), and what is refused before the work."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from model_store.data.dataset import DatasetError, read_dataset
from model_store.errors import UserError
from model_store.msr.parts import publish
from model_store.msr.parts.command import train_parts
from model_store.msr.parts.encoder import PictureEncoder
from model_store.msr.parts.lora import LoraSizes, load_language_model
from model_store.msr.parts.publish import MergeError, fixed_pairs, merge_into
from model_store.msr.parts.ranker import PackedRanker
from model_store.msr.parts.run_state import RunError
from model_store.msr.parts.train import PartsOptions, Run, Tuned
from model_store.msr.parts.trainer import StepOptions
from model_store.msr.scratch.examples import ExampleOptions
from model_store.progress import quiet
from model_store.registry.manifest import Training
from model_store.registry.registry import Registry
from tests.model_store.msr.parts.conftest import TEMPLATE, Parts, tiny_tokenizer, write_language_model

STEPS = 8
BYTES = 256 + 3
"""A vocabulary of bytes and special tokens alone."""
OPTIONS = PartsOptions(
    steps=STEPS, rows=2, align=0.25, validations=2, validation_users=4, bf16=False,
    adapter=LoraSizes(rank=4, alpha=8), examples=ExampleOptions(candidates=6, max_tokens=1500),
)  # fmt: skip


@pytest.fixture(scope="module")
def tuned(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    return started(parts, tmp_path_factory.mktemp("straight"), OPTIONS).train()


def started(parts: Parts, folder: Path, options: PartsOptions, **changed: Any) -> Run:
    given = {"llm": parts.llm, "vision": parts.vision, "dataset": read_dataset(parts.world)} | changed
    return Run(given["dataset"], given["llm"], given["vision"], folder, options, quiet)


def test_each_stage_changes_what_it_should(parts: Parts, tmp_path: Path) -> None:
    run = started(parts, tmp_path, OPTIONS)
    projector = {name: tensor.clone() for name, tensor in run.projector.state_dict().items()}
    run.trainer.step(list(run._draw("align")), "align", 0.5)
    adapters = run._weights()["adapters"]
    assert not any(tensor.any() for name, tensor in adapters.items() if "lora_B" in name)
    assert all(not torch.equal(tensor, projector[name]) for name, tensor in run.projector.state_dict().items())
    run.trainer.step(list(run._draw("rank")), "rank", 0.5)
    assert all(tensor.any() for name, tensor in run._weights()["adapters"].items() if "lora_B" in name)


def test_the_last_layers_alone_learn_if_the_options_say_so(parts: Parts, tmp_path: Path) -> None:
    options = replace(OPTIONS, adapter=LoraSizes(4, 8, layers=1), step=StepOptions(rank_projector=False))
    run = started(parts, tmp_path, options)
    projector = {name: tensor.clone() for name, tensor in run.projector.state_dict().items()}
    run.trainer.step(list(run._draw("rank")), "rank", 0.5)
    assert all(".layers.1." in name for name in run._weights()["adapters"])
    assert all(torch.equal(tensor, projector[name]) for name, tensor in run.projector.state_dict().items())


def test_ranking_is_learned(parts: Parts, tmp_path: Path) -> None:
    run = started(parts, tmp_path, replace(OPTIONS, step=StepOptions(lora_rate=1e-2)))
    prompts = list(run._draw("rank"))
    losses = [run.trainer.step(prompts, "rank", 0.3) for _ in range(25)]
    assert losses[-1] < losses[0] - 0.2


def test_an_interrupted_run_ends_like_a_straight_one(parts: Parts, tuned: Tuned, tmp_path: Path) -> None:
    first = started(parts, tmp_path, OPTIONS)
    real, taken = first.trainer.step, 0

    def interrupted(*args: Any) -> float:
        nonlocal taken
        if taken == STEPS - 3:
            raise KeyboardInterrupt
        taken += 1
        return real(*args)

    first.trainer.step = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        first.train()
    again = started(parts, tmp_path, OPTIONS)
    assert again.state.step == STEPS // 2  # saved with the first validation
    resumed = again.train()
    assert resumed.state.step == STEPS
    assert resumed.state.best == tuned.state.best
    for name, tensor in tuned.adapters.items():
        assert torch.equal(resumed.adapters[name], tensor), name
    for name, tensor in tuned.projector.state_dict().items():
        assert torch.equal(resumed.projector.state_dict()[name], tensor), name


def test_a_resumed_run_has_no_more_patience_than_a_straight_one(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, aucs = replace(OPTIONS, validations=8, patience=3), iter([0.9, 0.8, 0.7, 0.6, 0.95])
    monkeypatch.setattr("model_store.msr.parts.train.mean_auc", lambda *_: next(aucs))
    first = started(parts, tmp_path, options)
    real = first.save

    def interrupted() -> None:
        real()
        if first.state.step == 5:
            raise KeyboardInterrupt

    first.save = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        first.train()
    assert started(parts, tmp_path, options).train().state.step == 6
    assert started(parts, tmp_path, options).train().state.step == 6, "it went on after its end"
    assert next(aucs) == 0.95


def test_pictures_without_words_leave_out_the_first_stage(parts: Parts, tmp_path: Path) -> None:
    dataset = read_dataset(parts.world)
    bare = {key: replace(item, genres=(), tags=(), caption="") for key, item in dataset.items.items()}
    run = started(parts, tmp_path, OPTIONS, dataset=replace(dataset, items=bare))
    assert run._stage(0.0) == ("rank", 0.0)
    assert run.train().state.step == STEPS


def test_a_run_that_diverges_ends_and_is_not_saved(parts: Parts, tmp_path: Path) -> None:
    run = started(parts, tmp_path, OPTIONS)
    with torch.no_grad():
        run.projector.enter.weight.fill_(float("nan"))
    with pytest.raises(RunError, match=r"the loss of step 1 is no number, the training has diverged"):
        run.train()
    assert not (tmp_path / "state.pt").exists()


@pytest.mark.parametrize("steps", [1, 2])
def test_the_best_weights_have_learned_to_rank(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    aucs = iter([0.9, 0.5])
    monkeypatch.setattr("model_store.msr.parts.train.mean_auc", lambda *_: next(aucs))
    run = started(parts, tmp_path, replace(OPTIONS, steps=steps, validations=4))
    if steps == 1:
        with pytest.raises(RunError, match="the run ended after 1 steps, before it learned anything about ranking"):
            run.train()
    else:
        assert run.train().state.best_step == 2


class TestRefusals:
    def test_data_in_which_nothing_can_be_ranked(self, parts: Parts, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match="or a prompt fits into 8 tokens: shorten the texts"):
            started(parts, tmp_path, replace(OPTIONS, examples=ExampleOptions(candidates=6, max_tokens=8)))

    def test_a_missing_picture(self, parts: Parts, tmp_path: Path) -> None:
        world = Path(shutil.copytree(parts.world, tmp_path / "world"))
        next((world / "images").iterdir()).unlink()
        folders = {"llm": parts.llm, "vision": parts.vision, "run": tmp_path / "run"}
        with pytest.raises(DatasetError, match="1 items name a picture that is not in images/"):
            train_parts(world, tmp_path / "models", name="shop", options=OPTIONS, **folders)
        assert not (tmp_path / "run").exists()

    def test_the_state_of_another_run(self, parts: Parts, tmp_path: Path) -> None:
        started(parts, tmp_path, OPTIONS).save()
        write_language_model(tmp_path / "other", tiny_tokenizer(), layers=3)
        with pytest.raises(RunError, match="a run with another language model"):
            started(parts, tmp_path, OPTIONS, llm=tmp_path / "other")
        with pytest.raises(RunError, match="a run with another set of options"):
            started(parts, tmp_path, replace(OPTIONS, rows=3))
        (tmp_path / "state.pt").write_bytes(b"cut short")
        with pytest.raises(RunError, match=r"state\.pt is damaged: delete it"):
            started(parts, tmp_path, OPTIONS)

    @pytest.mark.parametrize(
        ("template", "message"),
        [(None, "no chat template"), (TEMPLATE + TEMPLATE, "renders a message 2 times"), ("{{ 'x' }}", "0 times")],
    )
    def test_a_tokenizer_without_a_usable_chat_template(
        self, parts: Parts, tmp_path: Path, template: str | None, message: str
    ) -> None:
        write_language_model(tmp_path / "llm", tiny_tokenizer(template))
        with pytest.raises(UserError, match=message):
            started(parts, tmp_path / "run", OPTIONS, llm=tmp_path / "llm")

    def test_labels_of_several_tokens(self, parts: Parts, tmp_path: Path) -> None:
        write_language_model(tmp_path / "llm", tiny_tokenizer(vocabulary=BYTES))
        with pytest.raises(UserError, match="'yes' is not a single token"):
            started(parts, tmp_path / "run", OPTIONS, llm=tmp_path / "llm")

    @pytest.mark.parametrize(
        ("file", "message"), [("tokenizer.json", "has no tokenizer"), ("config.json", "has no config.json")]
    )
    def test_an_incomplete_language_model(self, parts: Parts, tmp_path: Path, file: str, message: str) -> None:
        shutil.copytree(parts.llm, tmp_path / "llm")
        (tmp_path / "llm" / file).unlink()
        with pytest.raises(UserError, match=message):
            started(parts, tmp_path / "run", OPTIONS, llm=tmp_path / "llm")

    def test_weights_that_were_not_copied_to_the_end(self, parts: Parts, tmp_path: Path) -> None:
        weights = Path(shutil.copytree(parts.llm, tmp_path / "llm")) / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1])
        with pytest.raises(UserError, match="copy it again"):
            started(parts, tmp_path / "run", OPTIONS, llm=tmp_path / "llm")

    @pytest.mark.parametrize(
        ("name", "length"), [("model.safetensors", 9), ("model.safetensors", -1), ("config.json", 9)]
    )
    def test_a_damaged_vision_folder(self, parts: Parts, tmp_path: Path, name: str, length: int) -> None:
        vision = Path(shutil.copytree(parts.vision, tmp_path / "vision"))
        (vision / name).write_bytes((vision / name).read_bytes()[:length])
        with pytest.raises(UserError, match=r"vision can't be read: .*; copy it again"):
            started(parts, tmp_path / "run", OPTIONS, vision=vision)

    def test_a_vision_folder_that_is_none(self, parts: Parts, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="fetch-parts"):
            started(parts, tmp_path / "run", OPTIONS, vision=tmp_path)

    def test_data_without_pictures_or_users(self, parts: Parts, tmp_path: Path) -> None:
        data = tmp_path / "data"
        shutil.copytree(parts.world, data)
        items = [json.loads(line) for line in (data / "items.jsonl").read_text().splitlines()]
        text = "".join(json.dumps({**item, "image": None}) + "\n" for item in items)
        (data / "items.jsonl").write_text(text)
        with pytest.raises(DatasetError, match="no item of the data has a picture"):
            started(parts, tmp_path / "run", OPTIONS, dataset=read_dataset(data))
        shutil.copy(parts.world / "items.jsonl", data)
        lines = (data / "interactions.csv").read_text().splitlines(keepends=True)
        user = lines[1].partition(",")[0]
        (data / "interactions.csv").write_text(
            "".join(line for line in lines if line.startswith(("user_id", f"{user},")))
        )
        with pytest.raises(DatasetError, match="fewer than two users"):
            started(parts, tmp_path / "run", OPTIONS, dataset=read_dataset(data))


class TestPublishing:
    def test_every_target_changes_and_the_merged_model_answers_alike(
        self, parts: Parts, tuned: Tuned, tmp_path: Path
    ) -> None:
        merged = merge_into(tmp_path / "weights", parts.llm, tuned)
        assert merged.changed == 2 * 7
        model, _ = load_language_model(merged.folder, torch.float32)
        ranker = PackedRanker(model, tuned.projector, tuned.encoder.labels, tuned.features, bf16=False)
        assert all(len(odds) == publish.PAIRS // 2 for odds in ranker.score(fixed_pairs(tuned)))

    def test_a_lost_adapter_is_noticed(self, parts: Parts, tuned: Tuned, tmp_path: Path) -> None:
        lost = {
            name: torch.zeros_like(tensor) if "layers.1.mlp" in name else tensor
            for name, tensor in tuned.adapters.items()
        }
        with pytest.raises(RuntimeError, match=r"merging has not changed .*layers\.1\.mlp"):
            merge_into(tmp_path / "weights", parts.llm, replace(tuned, adapters=lost))

    def test_another_answer_is_noticed(
        self, parts: Parts, tuned: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(publish, "MERGE_TOLERANCE", 0.0)
        with pytest.raises(MergeError, match="log-odds differ"):
            merge_into(tmp_path / "weights", parts.llm, tuned)

    def test_it_gets_the_next_number_after_those_of_runs_that_ended_meanwhile(
        self, parts: Parts, tuned: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        registry, validate = Registry(tmp_path), publish.validate

        def meanwhile(*given: Any) -> Any:
            registry.reserve("shop-ranker")
            return validate(*given)

        monkeypatch.setattr(publish, "validate", meanwhile)
        given = {"llm": parts.llm, "vision": parts.vision, "store": tmp_path, "name": "shop", "neighbours": 5}
        manifest = publish.register(tuned, read_dataset(parts.world), Training(), **given, progress=quiet)
        assert registry.get("shop-ranker@2") == manifest
        assert registry.cooccurrence(manifest) == tmp_path / "shop-ranker/2/cooccurrence.jsonl"

    def test_a_command_registers_a_ranker_with_its_encoder(self, parts: Parts, tmp_path: Path) -> None:
        store = tmp_path / "models"
        manifest = train_parts(
            parts.world, store, name="shop", llm=parts.llm, vision=parts.vision, run=tmp_path / "run", options=OPTIONS
        )  # fmt: skip
        registry = Registry(store)
        assert registry.get("shop-ranker") == manifest
        assert manifest.serving.architecture == "LlamaForSequenceClassification"
        assert (manifest.picture_tokens.count, manifest.picture_tokens.width) == (4, 32)  # type: ignore[union-attr]
        assert (manifest.training.steps, manifest.probe is not None) == (STEPS, True)
        encoder = PictureEncoder.load(registry.encoder_folder(manifest))
        dataset = read_dataset(parts.world)
        images = [item.image.read_bytes() for item in dataset.items.values() if item.image][:3]
        soft = encoder.encode(images)
        assert soft.shape == (3, 4, 32)
        assert soft.dtype == torch.float32
        run = started(parts, tmp_path / "run", OPTIONS)
        # Features are kept in float16.
        assert torch.allclose(run._tuned().projector(run.features[:3].float()), soft, atol=2e-3)
