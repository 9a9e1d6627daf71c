"""Evaluations are beside a version: they change nothing that was registered."""

import json
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from model_store.prompts import BUILT_IN
from model_store.registry.evaluations import REPORT, Evaluations
from model_store.registry.manifest import Manifest, ManifestError
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


def report(value: float, created: str = "2026-01-01", sha256: str = "ab" * 32) -> bytes:
    by_k = {"5": {"value": value}}
    metrics = {"auc": {"value": value}, "hit_rate": by_k, "ndcg": by_k}
    methods = [{"name": "service", "kind": "service", **metrics}, {"name": "ItemKNN", "kind": "baseline", **metrics}]
    board = {"protocol": "popular", "cases": 40, "methods": methods}
    return json.dumps({"created": created, "data": {"name": "films", "sha256": sha256}, "boards": [board]}).encode()


def test_what_was_added_is_listed_and_read(root: str, manifest: Manifest) -> None:
    evaluations = Evaluations(root)
    assert evaluations.titles(manifest) == []
    where = evaluations.add(manifest, "films-1", {REPORT: b"{}", ".eval_results/films.yaml": b"[]"})
    assert where == f"{root}/taste/1/evaluations/films-1"
    evaluations.add(manifest, "films-2", {REPORT: report(0.5)})
    assert evaluations.titles(manifest) == ["films-1", "films-2"]
    assert evaluations.read(manifest, "films-2")["boards"][0]["cases"] == 40


def test_an_evaluation_that_ends_in_the_same_second_keeps_the_other(root: str, manifest: Manifest) -> None:
    evaluations = Evaluations(root)
    places = [evaluations.add(manifest, "films-now", {REPORT: report(value)}) for value in (0.1, 0.2, 0.3)]
    assert [place.rpartition("/")[2] for place in places] == ["films-now", "films-now-2", "films-now-3"]
    assert len(evaluations.titles(manifest)) == 3


def test_the_newest_evaluation_of_each_data_set_is_summarized(root: str, manifest: Manifest) -> None:
    evaluations = Evaluations(root)
    evaluations.add(manifest, "b", {REPORT: report(0.5, "2026-01-01")})
    evaluations.add(manifest, "a", {REPORT: report(0.75, "2026-01-02")})
    evaluations.add(manifest, "c", {REPORT: report(0.25, "2026-01-01", sha256="cd" * 32)})
    found = evaluations.latest(manifest)
    service = {"auc": 75.0, "hr_5": 75.0, "ndcg_5": 75.0}
    assert found["films (abababab)"] == {"popular": {"users": 40, "service": service}}
    assert found["films (cdcdcdcd)"]["popular"]["service"]["auc"] == 25.0


def test_a_report_that_is_none_is_named(root: str, manifest: Manifest) -> None:
    Evaluations(root).add(manifest, "films", {REPORT: b"[]"})
    with pytest.raises(ManifestError, match="taste/1/evaluations/films/report"):
        Evaluations(root).latest(manifest)


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


def test_a_place_for_reports_can_be_written_and_stays_empty(root: str, manifest: Manifest) -> None:
    Evaluations(root).require_place(manifest)
    assert Evaluations(root).titles(manifest) == []
    fs, base = fsspec.core.url_to_fs(f"{root}/taste/1/evaluations")
    assert fs.find(base) == []


def test_a_local_store_without_a_place_for_reports_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taste/1").mkdir(parents=True)
    (tmp_path / "taste/1/evaluations").write_text("a file")
    with pytest.raises(FileExistsError):
        Evaluations(tmp_path).require_place(Manifest(name="taste", version=1, role="ranker"))


@pytest.mark.parametrize("error", [PermissionError("no"), NotImplementedError(), ValueError("AccessDenied")])
def test_a_remote_store_that_cannot_be_written_is_refused_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", refuse)
    with pytest.raises(OSError, match=str(error) or "NotImplementedError"):
        Evaluations("memory://store").require_place(Manifest(name="taste", version=1, role="ranker"))


def test_a_store_that_keeps_what_was_written_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("deletions are denied")

    monkeypatch.setattr(MemoryFileSystem, "rm", refuse)
    version = Manifest(name="taste", version=1, role="ranker")
    evaluations = Evaluations("memory://kept")
    evaluations.require_place(version)
    assert evaluations.titles(version) == []
