"""Evaluations are beside a version: they change nothing that was registered."""

from pathlib import Path

import pytest

from model_store.prompts import BUILT_IN
from model_store.registry.evaluations import REPORT, Evaluations
from model_store.registry.manifest import Manifest
from model_store.registry.registry import Registry


@pytest.fixture(params=["local", "remote"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "store") if request.param == "local" else f"memory://evaluations-{tmp_path.name}"


@pytest.fixture
def manifest(root: str, tmp_path: Path) -> Manifest:
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "config.json").write_text("{}")
    added = Manifest(name="taste", version=1, role="ranker")
    return Registry(root, tmp_path / "cache").add(added, BUILT_IN / "compact", weights)


def test_what_was_added_is_listed_and_read(root: str, manifest: Manifest) -> None:
    evaluations = Evaluations(root)
    assert evaluations.titles(manifest) == []
    where = evaluations.add(manifest, "films-1", {REPORT: b"{}", ".eval_results/films.yaml": b"[]"})
    assert where == f"{root}/taste/1/evaluations/films-1"
    evaluations.add(manifest, "films-2", {REPORT: b"[1]"})
    assert evaluations.titles(manifest) == ["films-1", "films-2"]
    assert evaluations.read(manifest, "films-2") == b"[1]"


def test_a_version_stays_what_was_registered(root: str, manifest: Manifest, tmp_path: Path) -> None:
    Evaluations(root).add(manifest, "films", {REPORT: b"{}"})
    registry = Registry(root, tmp_path / "cache")
    assert registry.get("taste@1") == manifest
    assert registry.local_folder(manifest).is_dir()
    assert registry.versions("taste") == [1]
    assert [one.id for one in registry.list()] == ["taste@1"]


def test_a_half_written_evaluation_does_not_exist(root: str, manifest: Manifest) -> None:
    Evaluations(root).add(manifest, "films", {"report.html": b"<html>"})
    assert Evaluations(root).titles(manifest) == []
