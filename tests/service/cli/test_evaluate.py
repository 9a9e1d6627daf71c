"""`tastestream evaluate` refuses what it can't do in one sentence, before it starts a model server."""

import json
import shutil
from pathlib import Path

import pytest

from model_store.data.dataset import Dataset
from model_store.demo import MODELS
from model_store.serving.launch import VllmServer
from tests.model_store.evaluate.worlds import catalogue, like, world, write_world
from tests.service.cli.conftest import Run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_world(world(60), tmp_path / "world")


@pytest.fixture
def refused(tastestream: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def start(server: VllmServer) -> None:
        pytest.fail(f"{server.name} is started")

    monkeypatch.setattr(VllmServer, "start", start)

    def run(*arguments: str) -> str:
        ran = tastestream("evaluate", *arguments, "--cache", str(tmp_path / "answers"), "--baselines", "none")
        assert ran.code == 1
        assert ran.err.startswith("error: ")
        assert ran.err.count("\n") == 1
        return ran.err

    return run


def test_an_unknown_version_is_named(refused, data: Path) -> None:
    assert "no model 'nothing'" in refused("nothing", "--data", str(data))
    assert "no version 'demo-ranker@9'" in refused("demo-ranker@9", "--data", str(data))
    assert "no model 'nothing'" in refused("demo-ranker", "--data", str(data), "--against", "nothing")


def test_a_version_that_is_no_ranker_is_named(refused, data: Path) -> None:
    assert "demo-summarizer@1 is a summarizer" in refused("demo-summarizer", "--data", str(data))
    assert "demo-ranker@1 is a ranker" in refused("demo-ranker", "--data", str(data), "--summarizer", "demo-ranker")


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--protocol", "papers", "'papers' is none of uniform, popular, time"),
        ("--protocol", ",", "name at least one"),
        ("--k", "5,x", "'5,x' is not a list of numbers"),
        ("--block-sizes", "0", "numbers are 1 to"),
    ],
)
def test_an_option_that_means_nothing_is_named(refused, data: Path, option: str, value: str, said: str) -> None:
    message = refused("demo-ranker", "--data", str(data), option, value)
    assert f"{option}: " in message
    assert said in message


@pytest.mark.parametrize(
    ("histories", "said"),
    [
        ({"u1": (like("i1"),)}, "all interactions are of one user"),
        ({f"u{n}": (like("i1"),) for n in range(60)}, "test users liked a new item of the catalogue after a first"),
        ({f"u{n}": (like("i1", kind="seen"), like("i2", 1, "seen")) for n in range(60)}, "no interaction is positive"),
        ({f"u{n}": (like("x1"), like("x2", 1)) for n in range(60)}, "no interaction is with an item of the catalogue"),
    ],
)
def test_data_that_data_check_refuses_is_refused(refused, tmp_path: Path, histories, said: str) -> None:
    faulty = write_world(Dataset(catalogue(40), histories), tmp_path / "faulty")
    assert said in refused("demo-ranker", "--data", str(faulty))


def test_missing_pictures_are_named(refused, data: Path) -> None:
    lines = (data / "items.jsonl").read_text().splitlines()
    pictured = [{**json.loads(line), "image": f"{number}.png"} for number, line in enumerate(lines)]
    (data / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in pictured))
    message = refused("demo-ranker", "--data", str(data))
    assert "60 items name a picture that is not in images/" in message
    assert "tastestream data prepare" in message


def test_too_few_items_to_draw_from_are_named(refused, data: Path) -> None:
    message = refused("demo-ranker", "--data", str(data), "--negatives", "500")
    assert "500 items left to draw popular negatives from" in message


def test_a_folder_without_data_is_named(refused, tmp_path: Path) -> None:
    assert "items.jsonl is missing" in refused("demo-ranker", "--data", str(tmp_path / "nowhere"))


def test_a_report_that_could_not_be_written_is_refused_before_a_server_starts(
    refused, data: Path, tmp_path: Path
) -> None:
    store = shutil.copytree(MODELS, tmp_path / "store")
    (store / "demo-ranker/1/evaluations").write_text("a file")
    for options in (["--store", str(store)], ["--output", str(store / "demo-ranker/1/evaluations")]):
        message = refused("demo-ranker", "--data", str(data), *options)
        assert "the report can't be written to" in message
        assert "name a folder with --output" in message


def test_a_url_is_no_folder_for_the_report(refused, data: Path) -> None:
    message = refused("demo-ranker", "--data", str(data), "--output", "s3://bucket/reports")
    assert "s3://bucket/reports is a URL; name a folder on this machine" in message
