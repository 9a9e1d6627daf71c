"""`tastestream models refit-blend` on a log."""

import random
from pathlib import Path
from typing import Any

import pytest

from model_store.prompts import BUILT_IN
from model_store.registry.manifest import Blend, Manifest
from model_store.registry.registry import Registry
from service.settings import Settings
from tests.model_store.registry.checkpoints import checkpoint
from tests.service.cli.conftest import Run
from tests.service.cli.test_model_ope import MLLM, explored, row, write


@pytest.fixture
def registry(settings: Settings, tmp_path: Path) -> Registry:
    registry = Registry(settings.models_folder)
    manifest = Manifest(name="shop", version=1, role="ranker", blend=Blend(collaborative=0.5))
    registry.add(manifest, BUILT_IN / "compact", checkpoint(tmp_path / "weights"))
    return registry


def chosen() -> list[dict[str, Any]]:
    """Two items in a random order, of which users take the one with more co-occurrence in two of three cases."""
    rng, rows = random.Random(0), []
    for number in range(600):
        items = ["good", "poor"]
        rng.shuffle(items)
        best = rng.random() < 2 / 3
        for slot, item in enumerate(items, start=1):
            features = {"mllm": 0.5, "collaborative": 1.0 if item == "good" else 0.0, "popular": 3.0}
            outcome = "positive" if (item == "good") == best else None
            rows.append(
                row(f"u{number}", f"r{number}", slot, item, 0.5 if slot == 1 else 1.0, outcome, features=features)
            )
    return rows


def test_a_log_gives_a_version_that_shares_the_weights(tastestream: Run, tmp_path: Path, registry: Registry) -> None:
    ran = tastestream("models", "refit-blend", "shop", "--log", write(tmp_path / "log", chosen()))
    assert ran.code == 0, ran.err
    assert "registered shop@2" in ran.out
    old, new = registry.get("shop@1"), registry.get("shop@2")
    assert registry.local_folder(new) == registry.local_folder(old)
    assert (new.prompts_sha256, new.weights_sha256) == (old.prompts_sha256, old.weights_sha256)
    assert new.blend.collaborative > 0
    assert new.blend.mllm == new.blend.popular == 0
    assert new.evaluation == {"logged": {"answers": 600, "choices": 600}}


def test_a_version_of_a_version_shares_the_same_weights(tastestream: Run, tmp_path: Path, registry: Registry) -> None:
    rows = chosen()
    tastestream("models", "refit-blend", "shop", "--log", write(tmp_path / "log", rows))
    log = write(tmp_path / "log", [one | {"model": "shop@2"} for one in rows])
    assert tastestream("models", "refit-blend", "shop@2", "--log", log).code == 0
    assert registry.get("shop@3").weights == "shop/1/weights"


def test_what_cannot_be_fitted_is_refused_before_a_version_is_added(
    tastestream: Run, tmp_path: Path, registry: Registry
) -> None:
    assert set(MLLM) == {"good", "fair", "poor"}
    for options, message in (
        ((), "either --data or --log"),
        (("--data", "x", "--log", "y"), "either --data or --log"),
        (("--log", write(tmp_path / "fixed", explored(200, 0.0))), "no exploration"),
        (("--log", write(tmp_path / "short", explored(30))), "log for longer"),
        (
            ("--log", write(tmp_path / "other", [row("u", "r", 1, "good", 1.0, None, model="x@1")])),
            "no answer of shop@1",
        ),
    ):
        ran = tastestream("models", "refit-blend", "shop", *options)
        assert ran.code != 0
        assert message in " ".join(ran.err.split())
    assert registry.versions("shop") == [1]
