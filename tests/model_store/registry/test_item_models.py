"""The item models of a version."""

from array import array
from dataclasses import replace
from pathlib import Path

import pytest

from model_store.item_models.item_model import ItemModelError
from model_store.item_models.item_models import ITEM_MODELS, ItemModels
from model_store.item_models.item_vectors import ItemVectors
from model_store.item_models.item_weights import ItemWeights
from model_store.registry.manifest import Blend, Manifest, ManifestError
from model_store.registry.register import register_blend
from model_store.registry.registry import Registry
from tests.model_store.registry.versions import add, version


class TestItemModels:
    MODELS = ItemModels(
        ItemWeights(("a", "b"), array("I", [0, 1, 1]), array("I", [1]), array("f", [0.5])),
        ItemVectors(("a", "b"), array("f", [1.0, 2.0]), array("f", [1.0])),
    )

    def add(self, registry: Registry, weights: Path, models: ItemModels = MODELS) -> Manifest:
        return add(registry, weights, 1, **registry.write_item_models("taste", 1, models))

    def test_they_are_found(self, registry: Registry, weights: Path) -> None:
        added = self.add(registry, weights)
        assert registry.get("taste@1") == added
        assert registry.item_models(added).score(["b"], ["a", "b"]) == [(0.5, 2), (0, 4)]
        assert registry.item_models(version(2)).score(["b"], ["a", "b"]) == [(0, 0), (0, 0)]

    def test_a_version_may_have_one_of_them(self, registry: Registry, weights: Path) -> None:
        added = self.add(registry, weights, replace(self.MODELS, item_weights=None))
        assert registry.item_models(added).score(["b"], ["a"]) == [(0, 2)]

    @pytest.mark.parametrize("field", ITEM_MODELS)
    def test_other_files_are_refused(
        self, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, field: str
    ) -> None:
        registry = Registry(tmp_path / "store")
        one = ItemModels(**{field: getattr(self.MODELS, field)})
        added = self.add(registry, weights, one)
        path = tmp_path / "store" / getattr(added, field)
        monkeypatch.setattr("model_store.registry.version_files.ITEM_MODEL_BYTES", path.stat().st_size - 1)
        with pytest.raises(ItemModelError, match="more than"):
            registry.item_models(added)
        monkeypatch.undo()
        path.write_bytes(path.read_bytes()[:-1] + b"!")
        with pytest.raises(ManifestError, match="is not what taste@1 was registered with"):
            registry.item_models(added)
        path.unlink()
        with pytest.raises(ManifestError, match="taste@1 lacks"):
            registry.item_models(added)

    def test_a_new_blend_shares_those_that_are_not_new(self, registry: Registry, weights: Path) -> None:
        added = self.add(registry, weights)
        refitted = register_blend(registry, added, Blend(item_weights=2.0), {})
        assert registry.item_models(refitted).score(["b"], ["a"]) == [(0.5, 2)]
        other = ItemWeights(("a", "b"), array("I", [0, 1, 1]), array("I", [1]), array("f", [0.25]))
        anew = register_blend(registry, added, Blend(item_weights=2.0), {}, ItemModels(other))
        assert registry.item_models(anew).score(["b"], ["a"]) == [(0.25, 2)]
