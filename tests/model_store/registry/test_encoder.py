"""The picture encoder of a version."""

from pathlib import Path

import pytest

from model_store.prompts import BUILT_IN
from model_store.registry.manifest import ManifestError
from model_store.registry.registry import Registry
from tests.model_store.registry.versions import add, version

TOKENS = {"picture_tokens": {"count": 4, "width": 8}}


class TestEncoder:
    def test_it_is_copied_and_found(self, registry: Registry, weights: Path, encoder: Path) -> None:
        added = registry.add(version(1, **TOKENS), BUILT_IN / "compact", weights, encoder=encoder)
        assert registry.get("taste@1") == added
        assert (registry.encoder_folder(added) / "model.safetensors").read_bytes() == b"\x07"

    def test_it_goes_with_shared_weights(self, registry: Registry, weights: Path, encoder: Path) -> None:
        first = registry.add(version(1, **TOKENS), BUILT_IN / "compact", weights, encoder=encoder)
        refitted = add(registry, None, 2, weights="taste/1/weights", **TOKENS)
        assert refitted.encoder_sha256 == first.encoder_sha256
        assert registry.encoder_folder(refitted) == registry.encoder_folder(first)

    def test_a_changed_one_is_refused(self, tmp_path: Path, weights: Path, encoder: Path) -> None:
        registry = Registry(tmp_path / "store")
        added = registry.add(version(1, **TOKENS), BUILT_IN / "compact", weights, encoder=encoder)
        (tmp_path / "store/taste/1/encoder/model.safetensors").write_bytes(b"\x08")
        with pytest.raises(ManifestError, match="is not what taste@1 was registered with"):
            registry.encoder_folder(added)

    def test_a_version_without_picture_tokens_has_none(self, registry: Registry, weights: Path, encoder: Path) -> None:
        with pytest.raises(ManifestError, match="taste@1 has no picture tokens"):
            registry.encoder_folder(add(registry, weights, 1))
        with pytest.raises(ManifestError, match="needs an encoder folder"):
            registry.add(version(2), BUILT_IN / "compact", weights, encoder=encoder)

    def test_picture_tokens_need_one(self, registry: Registry, weights: Path, encoder: Path) -> None:
        with pytest.raises(ManifestError, match="needs an encoder folder"):
            add(registry, weights, 1, **TOKENS)
        add(registry, weights, 1)
        with pytest.raises(ManifestError, match=r"lacks .*taste/1/encoder"):
            add(registry, None, 2, weights="taste/1/weights", **TOKENS)
        assert registry.versions("taste") == [1]
