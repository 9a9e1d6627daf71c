"""The files of a fine-tuned version."""

from pathlib import Path

from model_store.cooccurrence import Cooccurrence
from model_store.item_models.item_models import ItemModels
from model_store.item_models.item_weights import ItemWeights
from model_store.msr.finetune.publish import register
from model_store.prompts import PromptSet
from model_store.registry.manifest import Manifest
from model_store.registry.registry import Registry


def test_it_gets_the_next_number_after_those_of_runs_that_ended_meanwhile(tmp_path: Path) -> None:
    weights, adapter, store = (tmp_path / name for name in ("weights", "adapter", "store"))
    for folder in (weights, adapter):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"")
    registry = Registry(store)
    described = Manifest(name="shop-ranker", version=registry.next_version("shop-ranker"), role="ranker")
    registry.reserve("shop-ranker")
    counts = Cooccurrence({"a": 1}, {})
    models = ItemModels(ItemWeights())
    manifest = register(described, PromptSet.built_in("compact"), weights, counts, models, store, adapter)
    assert registry.get("shop-ranker@2") == manifest
    assert registry.cooccurrence(manifest) == store / "shop-ranker/2/cooccurrence.jsonl"
    assert registry.item_models(manifest) == models
    assert (store / "shop-ranker/2/adapter/model.safetensors").is_file()
