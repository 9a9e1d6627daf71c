"""`tastestream models evaluate-retrieval` writes its report, and refuses what it can't do before it works."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.model_store.evaluate.worlds import world, write_world
from tests.service.cli.conftest import Run

COMMAND = ("models", "evaluate-retrieval")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_world(world(300, 200), tmp_path / "world")


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    path = tmp_path / "vectors.npz"
    np.savez(path, ids=np.array([f"i{n}" for n in range(200)]), vectors=np.random.default_rng(0).normal(size=(200, 8)))
    return path


def test_the_report_has_all_methods_and_both_kinds_of_items(
    tastestream: Run, data: Path, vectors: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "report"
    options = ("--data", str(data), "--vectors", f"ours={vectors}", "--cold-share", "0.3", "--out", str(folder))
    ran = tastestream(*COMMAND, *options, "--methods", "popularity,ease")
    assert ran.code == 0, ran.err
    found = json.loads((folder / "report.json").read_text())
    names = ["popularity", "EASE", "ours", "item models", "all stages, no embedding", "all stages, ours"]
    assert {table["kind"]: [row["method"] for row in table["rows"]] for table in found["tables"]} == {
        "warm": names,
        "cold": names,
    }
    assert found["items"] == found["data"]["items"] == 200
    assert 30 < found["hidden"] < 90
    assert found["protocol"]["cold_share"] == 0.3
    assert "--cold-share 0.3" in found["command"]
    page = (folder / "report.md").read_text()
    for name in names:
        assert f"| {name} |" in page
        assert name in ran.out
    widths = {line.count("|") for line in page.splitlines() if line.startswith("|")}
    assert widths == {8}
    assert found["shares"] == {"all stages": {"new": 0.1, "embedding": 0.1, "genre": 0.05}}


def test_all_stages_are_measured_with_each_of_the_shares(
    tastestream: Run, data: Path, vectors: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "report"
    options = ("--data", str(data), "--vectors", f"ours={vectors}", "--cold-share", "0.3", "--out", str(folder))
    ran = tastestream(*COMMAND, *options, "--methods", "none", "--shares", "0:0", "--shares", "0.1:0.8")
    assert ran.code == 0, ran.err
    (cold,) = (one for one in json.loads((folder / "report.json").read_text())["tables"] if one["kind"] == "cold")
    recall = {row["method"]: row["recall"]["100"]["mean"] for row in cold["rows"]}
    assert recall["all stages, ours, 0 % new, 0 % embedding"] < recall["all stages, ours, 10 % new, 80 % embedding"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--methods", "popularity,magic"), "'magic' is none of random"),
        (("--methods", ","), "name at least one"),
        (("--vectors", "file.npz"), "is not NAME=FILE"),
        (("--vectors", "=file.npz"), "is not NAME=FILE"),
        (("--vectors", "EASE=file.npz"), "that of a method"),
        (("--vectors", "a=1.npz", "--vectors", "a=2.npz"), "used twice"),
        (("--vectors", "a=missing.npz"), "no file of vectors at missing.npz"),
        (("--vectors", "item models=file.npz"), "that of a method"),
        (("--shares", "0.1"), "is not NEW:EMBEDDING"),
        (("--shares", "0.1:2"), "is not NEW:EMBEDDING"),
    ],
)
def test_what_can_not_be_done_is_said_in_a_sentence(
    tastestream: Run, data: Path, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    ran = tastestream(*COMMAND, "--data", str(data), "--out", str(tmp_path / "report"), *options)
    assert ran.code == 1
    assert ran.err.startswith("error: ")
    assert said in ran.err


def test_a_report_that_can_not_be_written_is_said_first(tastestream: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = tastestream(*COMMAND, "--data", "missing", "--out", str(tmp_path / "file"))
    assert ran.code == 1
    assert "--out: nothing can be written to" in ran.err


def test_vectors_that_can_not_be_written_are_said_first(tastestream: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "vectors.npz"
    ran = tastestream("models", "embed", "missing", "--data", "missing", "--out", str(out))
    assert ran.code == 1
    assert "--out: nothing can be written to" in ran.err
