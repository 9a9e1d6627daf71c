"""`tastestream data check` shows figures as tables, plots and JSON, and its exit status says whether to go on."""

import json
from pathlib import Path

from PIL import Image

from tests.model_store.data.test_check import good, rows_of, write
from tests.service.cli.conftest import Run


def test_a_good_dataset_is_shown_as_tables_and_plots(tastestream: Run, tmp_path: Path) -> None:
    ended = tastestream("data", "check", str(good(tmp_path)))
    assert ended.code == 0
    for text in ("length of a history", "Gini", "2023-11-14", "test targets", "can be trained and evaluated on"):
        assert text in ended.out, text
    with Image.open(tmp_path / "check.png") as plots:
        assert plots.format == "PNG"


def test_a_bad_dataset_ends_with_status_1_and_the_remedy(tastestream: Run, tmp_path: Path) -> None:
    ended = tastestream("data", "check", str(write(tmp_path, rows_of("train", 1))))
    assert ended.code == 1
    assert "error: all interactions are of one user" in ended.out


def test_json_is_for_programs(tastestream: Run, tmp_path: Path) -> None:
    ended = tastestream("data", "check", str(good(tmp_path)), "--json")
    found = json.loads(ended.out)
    assert found["interactions"]["splits"]["test"] == {"users": 3, "interactions": 9, "cases": 3}
    assert found["errors"] == []
    assert not (tmp_path / "check.png").exists()


def test_a_folder_that_can_not_be_written_costs_only_the_plots(tastestream: Run, tmp_path: Path) -> None:
    ended = tastestream("data", "check", str(good(tmp_path)), "--plot", str(tmp_path / "none/check.png"))
    assert ended.code == 0
    assert "name another file with --plot" in ended.err
