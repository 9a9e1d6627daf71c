"""The head of an embedder in the model store, and the files that are refused as one."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_store.embedder_head import Head, HeadError
from model_store.prompts import BUILT_IN
from model_store.registry.manifest import Embedding, Manifest, ManifestError, PictureTokens
from model_store.registry.registry import Registry
from tests.model_store.registry.checkpoints import checkpoint

NAME, DIMENSIONS, HIDDEN = "shop-embedder", 2, 4
RNG = np.random.default_rng(0)
HEAD = Head(
    RNG.normal(size=(DIMENSIONS, HIDDEN)).astype(np.float32), RNG.normal(size=(HIDDEN, 2 * HIDDEN)).astype(np.float32)
)
STATES, FEATURE = RNG.normal(size=(3, HIDDEN)).astype(np.float32), RNG.normal(size=HIDDEN).astype(np.float32)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "store")


def add(registry: Registry, folder: Path, **values: Any) -> Manifest:
    """Version 1, an embedder."""
    manifest = Manifest(
        name=NAME,
        version=1,
        role="embedder",
        embedding=Embedding(dimensions=DIMENSIONS, read_token="<|read|>"),
        **registry.write_head(NAME, 1, HEAD),
    )
    encoder = checkpoint(folder / "encoder") if "picture_tokens" in values else None
    weights = checkpoint(folder / "weights")
    return registry.add(manifest.model_copy(update=values), BUILT_IN / "embed", weights, encoder=encoder)


def head_file(registry: Registry, manifest: Manifest) -> Path:
    return Path(registry.root) / manifest.head


def test_it_is_found(registry: Registry, tmp_path: Path) -> None:
    tokens = PictureTokens(count=2, width=HIDDEN, feature=True)
    found = registry.head(add(registry, tmp_path, picture_tokens=tokens))
    assert found is not None
    np.testing.assert_array_equal(found(STATES, FEATURE), HEAD(STATES, FEATURE))


def test_a_version_may_need_none(registry: Registry, tmp_path: Path) -> None:
    assert registry.head(add(registry, tmp_path).model_copy(update={"head": ""})) is None


def test_a_missing_one_is_refused(registry: Registry, tmp_path: Path) -> None:
    added = add(registry, tmp_path)
    head_file(registry, added).unlink()
    with pytest.raises(ManifestError, match=r"shop-embedder@1 lacks .*/shop-embedder/1/head\.npz"):
        registry.head(added)


def test_one_that_is_too_large_is_refused_before_it_is_read(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = add(registry, tmp_path)
    size = head_file(registry, added).stat().st_size
    monkeypatch.setattr("model_store.registry.version_files.HEAD_BYTES", size)
    assert registry.head(added) is not None
    monkeypatch.setattr("model_store.registry.version_files.HEAD_BYTES", size - 1)
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("it was read"))
    with pytest.raises(HeadError, match=rf"head\.npz has {size:,} bytes, more than {size - 1:,}"):
        registry.head(added)


def test_another_one_than_was_registered_is_refused(registry: Registry, tmp_path: Path) -> None:
    added = add(registry, tmp_path)
    head_file(registry, added).write_bytes(Head(-HEAD.project, HEAD.gate).dump())
    with pytest.raises(ManifestError, match=r"head\.npz is not what shop-embedder@1 was registered with"):
        registry.head(added)


def test_a_damaged_one_is_refused_although_it_was_registered_so(registry: Registry, tmp_path: Path) -> None:
    added = add(registry, tmp_path)
    path = head_file(registry, added)
    damaged = path.read_bytes()[:-30]
    path.write_bytes(damaged)
    manifest = added.model_copy(update={"head_sha256": hashlib.sha256(damaged).hexdigest()})
    with pytest.raises(HeadError, match=r"head\.npz is no head of an embedder"):
        registry.head(manifest)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"embedding": Embedding(dimensions=3)}, r"head\.npz makes 2 numbers, and the manifest of \S+@1 says 3"),
        (
            {"picture_tokens": PictureTokens(count=2, width=5)},
            r"head\.npz reads 4 numbers, and the picture tokens of \S+@1 have 5",
        ),
    ],
    ids=["vectors", "picture tokens"],
)
def test_one_with_other_shapes_than_the_manifest_says_is_refused(
    registry: Registry, tmp_path: Path, other: dict[str, Any], why: str
) -> None:
    with pytest.raises(ManifestError, match=why):
        registry.head(add(registry, tmp_path, **other))
