"""A catalogue file is read line by line, whatever it contains."""

import base64
import gzip
import os
from pathlib import Path
from typing import Any

import orjson
import pytest

from model_store.errors import UserError
from service.client import source as import_source
from service.client.source import Batch, Source


def write(folder: Path, *lines: bytes | dict[str, Any]) -> Path:
    path = folder / "items.jsonl"
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else orjson.dumps(line) for line in lines))
    return path


def items(batches: list[Batch]) -> list[dict[str, Any]]:
    return [item for batch in batches for item in batch.items]


def test_a_line_is_sent_in_the_form_that_the_service_accepts(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.png").write_bytes(b"picture")
    full = {"item_id": "a", "title": "A", "tags": ["x"], "attributes": {"price": 3}, "image_url": "http://x"}
    dataset = {"item_id": 7, "title": "B", "description": None, "genres": None, "image": "a.png", "caption": "red"}
    write(tmp_path, full, dataset)
    for source in (Source(tmp_path), Source(tmp_path / "items.jsonl")):
        assert items(list(source.batches())) == [
            full,
            {"item_id": "7", "title": "B", "image_base64": base64.b64encode(b"picture").decode()},
        ]


def test_an_invalid_line_is_named_by_its_number_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_source, "LINE_BYTES", 100)
    (tmp_path / "secret").write_text("key")
    (tmp_path / "images").mkdir()
    write(
        tmp_path,
        b"{",
        {"item_id": "a", "title": "A"},
        b"",
        b"[]",
        b"\xff",
        b'{"title": "' + b"x" * 1000 + b'"}',
        {"item_id": "b", "title": "B", "image": "../secret"},
        {"item_id": "c", "title": "C", "image": "none.png"},
        {"item_id": "d", "title": "D"},
    )
    (batch,) = Source(tmp_path).batches()
    assert (batch.lines, batch.line) == ([2, 9], 9)
    assert [(one.line, one.code) for one in batch.rejected] == [(n, "malformed_line") for n in (1, 4, 5, 6, 7, 8)]
    assert "longer than 100 bytes" in batch.rejected[3].detail
    assert "is outside" in batch.rejected[4].detail
    assert "No such file" in batch.rejected[5].detail


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("../secret", "is outside"),
        ("/etc/passwd", "is outside"),
        ("escape", "is outside"),
        ("loop", "loop"),
        ("none.png", "none.png: No such file"),
        ("a.png/b", "Not a directory"),
        ("x" * 5000, "name too long"),
        ("nul\0", "null byte"),
        ("folder", "is not a file"),
        ("pipe", "is not a file"),
        (5, "must be the name of a file"),
        (["a.png"], "must be the name of a file"),
    ],
)
def test_an_image_that_is_not_a_file_in_its_folder_is_rejected_and_stops_nothing(
    tmp_path: Path, image: object, reason: str
) -> None:
    images = tmp_path / "images"
    (images / "folder").mkdir(parents=True)
    (images / "a.png").write_bytes(b"picture")
    (images / "loop").symlink_to("loop")
    (images / "escape").symlink_to("/etc/passwd")
    (tmp_path / "secret").write_text("key")
    os.mkfifo(images / "pipe")
    write(tmp_path, {"item_id": "a", "title": "A", "image": image}, {"item_id": "b", "title": "B"})
    (batch,) = Source(tmp_path).batches()
    assert [(one.line, one.item_id, one.code) for one in batch.rejected] == [(1, "a", "malformed_line")]
    assert batch.rejected[0].detail.startswith("image: ")
    assert reason in batch.rejected[0].detail
    assert batch.lines == [2]


def test_the_image_folder_may_be_a_link_and_an_empty_name_means_no_image(tmp_path: Path) -> None:
    dataset, elsewhere = tmp_path / "dataset", tmp_path / "elsewhere"
    dataset.mkdir()
    elsewhere.mkdir()
    (elsewhere / "a.png").write_bytes(b"picture")
    (dataset / "images").symlink_to(elsewhere)
    write(dataset, {"item_id": "a", "image": "a.png"}, {"item_id": "b", "image": ""})
    (batch,) = Source(dataset).batches()
    assert batch.items == [{"item_id": "a", "image_base64": base64.b64encode(b"picture").decode()}, {"item_id": "b"}]


@pytest.mark.parametrize("levels", [100, *range(240, 260), 900, 5000])
def test_a_line_that_is_nested_too_deeply_to_be_sent_is_named(tmp_path: Path, levels: int) -> None:
    deep = b'{"item_id": "a", "attributes": ' + b"[" * levels + b"]" * levels + b"}"
    write(tmp_path, deep, {"item_id": "b"})
    (batch,) = Source(tmp_path).batches()
    assert len(batch.items) + len(batch.rejected) == 2
    orjson.dumps(batch.items)


def test_a_source_that_can_be_read_only_once_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "items.jsonl")
    with pytest.raises(UserError, match="not a regular file"):
        Source(tmp_path)


def test_reading_can_resume_after_any_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_source, "BATCH_ITEMS", 3)
    write(tmp_path, *({"item_id": str(number), "title": "t"} for number in range(10)))
    source = Source(tmp_path)
    batches = list(source.batches())
    assert [len(batch.items) for batch in batches] == [3, 3, 3, 1]
    for place, batch in enumerate(batches):
        rest = list(source.batches(batch.line, batch.offset))
        assert items(rest) == items(batches[place + 1 :])
    assert batches[-1].offset == source.size


def test_an_item_that_is_not_wanted_is_left_out_before_its_picture_is_read(tmp_path: Path) -> None:
    write(tmp_path, {"item_id": "a", "title": "A", "image": "none.png"}, {"item_id": "b", "title": "B"})
    (batch,) = Source(tmp_path).batches(wanted=lambda item: item["item_id"] != "a")
    assert (batch.items, batch.lines, batch.rejected, batch.line) == ([{"item_id": "b", "title": "B"}], [2], [], 2)


def test_numbers_and_lone_surrogates_in_texts_are_read_as_the_dataset_reader_reads_them(tmp_path: Path) -> None:
    write(tmp_path, {"item_id": 1, "title": 1984}, b'{"item_id": "b", "title": "cut \\ud83d"}', b'{"a": "\\ud83d", }')
    (batch,) = Source(tmp_path).batches()
    assert batch.items == [{"item_id": "1", "title": "1984"}, {"item_id": "b", "title": "cut "}]
    assert [one.line for one in batch.rejected] == [3]


def test_a_batch_is_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_source, "BATCH_BYTES", 3000)
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.png").write_bytes(b"x" * 750)
    write(tmp_path, *({"item_id": str(number), "title": "t", "image": "a.png"} for number in range(10)))
    assert [len(batch.items) for batch in Source(tmp_path).batches()] == [3, 3, 3, 1]


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"items\.jsonl: No such file"):
        Source(tmp_path / "items.jsonl")
    with pytest.raises(UserError, match=r"no items\.jsonl"):
        Source(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("zipped", [False, True])
def test_lines_of_any_encoding_are_sent_as_utf8(tmp_path: Path, encoding: str, zipped: bool) -> None:
    content = '{"item_id": "a", "title": "Amélie", "genres": "Action|Drama"}\n\nno item\n'.encode(encoding)
    path = tmp_path / ("items.jsonl.gz" if zipped else "items.jsonl")
    path.write_bytes(gzip.compress(content) if zipped else content)
    source = Source(tmp_path)
    (batch,) = source.batches()
    assert batch.items == [{"item_id": "a", "title": "Amélie", "genres": ["Action", "Drama"]}]
    assert [one.line for one in batch.rejected] == [3]
    assert batch.offset == source.size
    assert bool(source.note) == (encoding != "utf-8-sig")


def test_a_line_that_is_not_utf8_among_others_is_named_with_the_remedy(tmp_path: Path) -> None:
    write(tmp_path, {"item_id": "a", "title": "Amélie"}, b'{"item_id": "b", "title": "Am\xe9lie"}')
    (batch,) = Source(tmp_path).batches()
    assert [item["item_id"] for item in batch.items] == ["a"]
    assert batch.rejected[0].detail == "not UTF-8: byte 0xe9 at position 29; fix the line or convert the file"


@pytest.mark.parametrize("name", ["feed.csv", "feed.txt", "feed.tsv.gz"])
def test_a_table_of_items_is_read_row_by_row(tmp_path: Path, name: str) -> None:
    separator = "," if name == "feed.csv" else "\t"
    rows = [("id", "title", "image_link"), ("a", "A", "https://x/a.jpg"), ("b", "", ""), ("c", "C", "")]
    content = "\n".join(separator.join(row) for row in rows).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    source = Source(tmp_path / name)
    (batch,) = source.batches()
    assert batch.items == [
        {"item_id": "a", "title": "A", "image_url": "https://x/a.jpg"},
        {"item_id": "c", "title": "C"},
    ]
    assert [one.detail for one in batch.rejected] == ["title is missing or empty (line 3 of the file)"]
    assert "read as" in source.note
