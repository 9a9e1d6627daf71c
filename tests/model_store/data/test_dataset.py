import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.data.dataset import DatasetError, read_dataset, user_split
from model_store.signals import Signals, Vocabulary

ITEM = '{"item_id": 1, "title": "One", "genres": ["jazz"], "image": "1.jpg", "caption": "A red ring."}\n'


def write(folder: Path, interactions: str, items: str = ITEM) -> Path:
    (folder / "items.jsonl").write_text(items)
    (folder / "interactions.csv").write_text(interactions)
    return folder


def test_ids_are_strings_whatever_the_files_hold(tmp_path: Path) -> None:
    dataset = read_dataset(write(tmp_path, "user_id,item_id,timestamp\n7,1,10\n"))
    assert dataset.items["1"].caption == "A red ring."
    assert dataset.items["1"].image == tmp_path / "images" / "1.jpg"
    assert dataset.histories["7"][0].item_id == "1"


@pytest.mark.parametrize(
    ("row", "signal"),
    [
        ("5,", "positive"),
        ("4,", "positive"),
        ("3.5,", "neutral"),
        ("2,", "negative"),
        ("1,review", "negative"),
        ("1,vote", "positive"),
        (",Add to Cart", "positive"),
    ],
)
def test_what_a_row_says_of_its_item_is_what_an_event_says(tmp_path: Path, row: str, signal: str) -> None:
    event = read_dataset(write(tmp_path, f"user_id,item_id,timestamp,rating,type\n7,1,10,{row}\n")).histories["7"][0]
    assert (event.liked, event.disliked) == (signal == "positive", signal == "negative")


def test_what_a_model_wrote_about_an_item_is_its_summary(tmp_path: Path) -> None:
    folder = write(tmp_path, "user_id,item_id,timestamp\n7,1,10\n")
    assert read_dataset(folder).items["1"].summary == ""
    (folder / "descriptions.jsonl").write_text(
        '{"item_id": 1, "summary": "A ring."}\n{"item_id": "x", "summary": "?"}\n'
    )
    item = read_dataset(folder).items["1"]
    assert (item.summary, item.caption) == ("A ring.", "A red ring.")


def test_a_malformed_description_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path, "user_id,item_id,timestamp\n7,1,10\n")
    (folder / "descriptions.jsonl").write_text('{"item_id": 1, "summary": "A ring."}\n{"item_id": 1, "summa')
    with pytest.raises(DatasetError, match=r"descriptions.jsonl, line 2"):
        read_dataset(folder)


def test_what_types_mean_can_be_said(tmp_path: Path) -> None:
    signals = Signals(Vocabulary(positive=("wink",)))
    dataset = read_dataset(write(tmp_path, "user_id,item_id,timestamp,type\n7,1,10,wink\n"), signals)
    assert dataset.histories["7"][0].liked


def test_a_type_column_wins_and_a_bare_interaction_is_a_click(tmp_path: Path) -> None:
    rows = "user_id,item_id,timestamp,rating,type\n7,1,10,1,purchase\n7,1,11,,\n"
    assert [event.type for event in read_dataset(write(tmp_path, rows)).histories["7"]] == ["purchase", "click"]


def test_histories_are_oldest_first(tmp_path: Path) -> None:
    dataset = read_dataset(write(tmp_path, "user_id,item_id,timestamp\n7,b,20\n7,a,10\n"))
    assert [event.item_id for event in dataset.histories["7"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("items", "interactions", "where"),
    [
        ("{}\n", "user_id,item_id,timestamp\n", "items.jsonl, line 1"),
        ("not json\n", "user_id,item_id,timestamp\n", "items.jsonl, line 1"),
        (ITEM, "user_id,item_id,timestamp\n7,1,soon\n", "interactions.csv, line 2"),
        (ITEM, "user_id,timestamp\n7,1\n", "interactions.csv has no column item_id"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, items: str, interactions: str, where: str) -> None:
    with pytest.raises(DatasetError, match=where):
        read_dataset(write(tmp_path, interactions, items))


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ('{"item_id": 1, "title": null}', "line 1: title is missing or empty"),
        ('{"item_id": null, "title": "A"}', "line 1: item_id is missing"),
        ('{"item_id": "a\\ud83d", "title": "A"}', "line 1: item_id holds half of a character"),
        ('{"item_id": 1, "title": ["A"]}', "line 1: title must be a text, not an array"),
        ('{"item_id": 1, "title": "A", "genres": 5}', "line 1: genres must be an array"),
        ('[{"item_id": 1}]', "line 1: not a JSON object"),
        ("[\n", "line 1: one JSON array; write one object a line"),
    ],
)
def test_what_is_wrong_with_an_item_is_said_in_words(tmp_path: Path, item: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_dataset(write(tmp_path, "user_id,item_id,timestamp\n", item))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("7,1\n", "line 2: 2 fields, where the header has 4"),
        ('7,"1,10,5\n8,2,11,5\n', "line 2: a quote that begins here is not closed"),
        ("7,1,10,good\n", "line 2: rating 'good' is not a number"),
        (",1,10,5\n", "line 2: user_id is missing"),
    ],
)
def test_what_is_wrong_with_a_row_is_said_in_words(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_dataset(write(tmp_path, f"user_id,item_id,timestamp,rating\n{rows}"))


def test_genres_in_one_text_are_not_read_as_letters(tmp_path: Path) -> None:
    items = '{"item_id": 1, "title": "A \\ud83d", "genres": "Action|Drama", "tags": null}'
    item = read_dataset(write(tmp_path, "user_id,item_id,timestamp\n", items)).items["1"]
    assert (item.title, item.genres, item.tags) == ("A", ("Action", "Drama"), ())


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_files_of_any_encoding_compressed_or_not_are_read(tmp_path: Path, encoding: str) -> None:
    item = '{"item_id": "é", "title": "Amélie"}\n'.encode(encoding)
    rows = "user_id;item_id;timestamp\n7;é;2024-01-01T00:00:00Z\n".encode(encoding)
    (tmp_path / "items.jsonl.gz").write_bytes(gzip.compress(item))
    (tmp_path / "interactions.csv").write_bytes(rows)
    dataset = read_dataset(tmp_path)
    assert dataset.items["é"].title == "Amélie"
    assert dataset.histories["7"][0].timestamp == 1704067200


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"items\.jsonl is missing"):
        read_dataset(tmp_path)


@given(st.text(min_size=1))
def test_a_user_stays_in_one_split(user: str) -> None:
    assert user_split(user) == user_split(user)


def test_splits_have_their_shares() -> None:
    splits = [user_split(str(number)) for number in range(10_000)]
    assert 0.84 < splits.count("train") / 10_000 < 0.86
    assert 0.09 < splits.count("test") / 10_000 < 0.11


def test_what_was_only_shown_is_no_history(tmp_path: Path) -> None:
    rows = "user_id,item_id,timestamp,type\n7,1,10,impression\n7,1,11,view\n"
    assert [event.type for event in read_dataset(write(tmp_path, rows)).histories["7"]] == ["view"]
