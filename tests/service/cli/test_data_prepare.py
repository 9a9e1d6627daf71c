"""`tastestream data prepare` writes a dataset that can be used, from one that can't."""

import json
from pathlib import Path

from PIL import Image

from model_store.data.check import require
from model_store.data.dataset import read_dataset
from tests.model_store.data.test_check import ITEMS, good, row, rows_of, write
from tests.service.cli.conftest import Run


def test_what_can_not_be_used_is_removed(tastestream: Run, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "images/sub").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(source / "images/sub/a.png")
    (tmp_path / "secret.png").write_bytes((source / "images/sub/a.png").read_bytes())
    (source / "images/b.png").write_text("<html>")
    names = {"a": "sub/a.png", "b": "b.png", "c": "none.png", "d": "../../secret.png", "e": "e\0.png"}
    lines = [json.loads(line) | {"n": 1} for line in ITEMS.splitlines()]
    items = "".join(json.dumps(line | {"image": names.get(line["item_id"])}) + "\n" for line in lines)
    rows = rows_of("train", 9, "abcde") + rows_of("test", 3, "acd") + row("u1", "gone", 5) + row("u1", "a", 7) * 2
    write(source, rows + row("u1", "b", 8, "", "impression"), items)
    (source / "descriptions.jsonl").write_text('{"item_id": "a", "summary": "A square."}\n')
    ended = tastestream("data", "prepare", str(source), str(tmp_path / "out"))
    assert ended.code == 0, ended.err
    assert "4 items lost the name of a picture" in ended.out
    found = read_dataset(tmp_path / "out")
    assert {name: item.image for name, item in found.items.items() if item.image} == {
        "a": tmp_path / "out/images/sub/a.png"
    }
    assert found.items["a"].summary == "A square."
    assert json.loads((tmp_path / "out/items.jsonl").read_text().splitlines()[0])["n"] == 1
    assert sum(map(len, found.histories.values())) == 6 + 5 + 9, "of the copied train users one is left"
    require(found, "training", "evaluation")


def test_a_k_core_drops_items_unless_they_are_kept(tastestream: Run, tmp_path: Path) -> None:
    source = good(tmp_path)
    for name, options, kept in (("core", (), "acd"), ("all", ("--keep-items",), "abcdefgh")):
        ended = tastestream("data", "prepare", str(source), str(tmp_path / name), "--k-core", "3", *options)
        assert ended.code == 0, ended.err
        assert "in the 3-core" in ended.out
        dataset = read_dataset(tmp_path / name)
        assert set(dataset.items) >= set(kept)
    note = json.loads((tmp_path / "core/prepared.json").read_text())
    assert (note["k_core"], note["seed"]) == (3, 0)
    ended = tastestream("data", "prepare", str(source), str(tmp_path / "none"), "--k-core", "9")
    assert ended.code == 1
    assert "0 in the 9-core" in ended.err
    assert not (tmp_path / "none").exists()


def test_a_time_split_trains_on_nothing_later(tastestream: Run, tmp_path: Path) -> None:
    rows = "".join(
        rows_of(split, 4, "abcdefgh"[n % 3 :], 1e9 + 100 * n) for n in range(5) for split in ("train", "test")
    )  # type: ignore[arg-type]
    source = write(tmp_path, rows)
    ended = tastestream("data", "prepare", str(source), str(tmp_path / "out"), "--split", "time")
    assert ended.code == 0, ended.err
    everything, before = read_dataset(tmp_path / "out"), read_dataset(tmp_path / "out/before")
    times = [event.timestamp for history in everything.histories.values() for event in history]
    earlier = [event.timestamp for history in before.histories.values() for event in history]
    assert sorted(earlier) == sorted(times)[: len(earlier)]
    assert 0.7 < len(earlier) / len(times) <= 0.8
    assert set(before.items) == set(everything.items)


def test_positions_are_not_split_by_time(tastestream: Run, tmp_path: Path) -> None:
    source = write(tmp_path, rows_of("train", 3, "abc", 0))
    ended = tastestream("data", "prepare", str(source), str(tmp_path / "out"), "--split", "time")
    assert ended.code == 1
    assert "positions or day numbers" in ended.err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_empty_is_refused_before_anything_is_read(tastestream: Run, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/notes").write_text("")
    ended = tastestream("data", "prepare", str(tmp_path / "nowhere"), str(tmp_path / "out"))
    assert f"{tmp_path / 'out'} is not empty" in ended.err


def test_what_was_made_from_a_replaced_dataset_goes_with_it(tastestream: Run, tmp_path: Path) -> None:
    source, out = (
        write(tmp_path, "".join(rows_of("train", 4, "abcd", 1e9 + 100 * n) for n in range(5))),
        tmp_path / "out",
    )
    (source / "descriptions.jsonl").write_text('{"item_id": "a", "summary": "A square."}\n')
    assert tastestream("data", "prepare", str(source), str(out), "--split", "time").code == 0
    assert read_dataset(out / "before").items["a"].summary == "A square."
    (out / "summaries.jsonl").write_text('{"user_id": "u", "events": 3, "summary": "Old."}\n')
    (out / "summaries.jsonl.gz").write_bytes(b"")
    ended = tastestream("data", "prepare", str(out), str(out), "--force")
    assert ended.code == 0, ended.err
    assert read_dataset(out).items["a"].summary == "A square.", "its own source"
    assert {path.name for path in out.iterdir()} == {
        "descriptions.jsonl",
        "images",
        "interactions.csv",
        "items.jsonl",
        "prepared.json",
    }
    (source / "descriptions.jsonl").unlink()
    assert tastestream("data", "prepare", str(source), str(out), "--force").code == 0
    assert not read_dataset(out).items["a"].summary
