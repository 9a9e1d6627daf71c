"""`tastestream data import` writes a whole dataset folder or nothing."""

from pathlib import Path
from typing import get_args

import pytest

from model_store.data.dataset import Interaction, read_dataset
from model_store.data.importers import LAYOUTS
from service.cli.options import LayoutName
from tests.service.cli.conftest import Run


def movielens(folder: Path) -> Path:
    folder.mkdir()
    (folder / "movies.dat").write_bytes(
        "1::Amélie::Comedy\n2::Tide::Drama|War\n2::Tide again::Drama\n3::::\n".encode("latin-1")
    )
    (folder / "ratings.dat").write_text("8::1::5::20\n7::2::1::20\n7::1::3::10\n7::1::x::10\n")
    return folder


def test_a_layout_becomes_a_dataset_that_train_and_replay_read(tastestream: Run, tmp_path: Path) -> None:
    ended = tastestream("data", "import", str(movielens(tmp_path / "ml")), str(tmp_path / "out"))
    dataset = read_dataset(tmp_path / "out")
    assert {item.item_id: (item.title, item.genres) for item in dataset.items.values()} == {
        "1": ("Amélie", ("Comedy",)),
        "2": ("Tide", ("Drama", "War")),
    }
    assert dataset.histories == {
        "7": (Interaction("1", "rating", 10.0, 3.0), Interaction("2", "rating", 20.0, 1.0)),
        "8": (Interaction("1", "rating", 20.0, 5.0),),
    }
    assert list(dataset.histories) == ["7", "8"]
    assert ended.code == 1, "rows were rejected"
    assert "movies.dat" in ended.out
    assert "title is missing or empty" in ended.out
    assert "rating 'x' is not a number" in ended.out


def test_pictures_are_copied_but_none_from_another_folder(tastestream: Run, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "in/images").mkdir(parents=True)
    (tmp_path / "in/images/a.png").write_bytes(b"picture")
    names = ("a.png", "../../secret.png", "none.png", "a\0.png", "n" * 300)
    items = "".join(f"{item_id},T,{name}\n" for item_id, name in zip("abcde", names, strict=True))
    (tmp_path / "in/items.csv").write_text(f"item_id,title,image\n{items}")
    (tmp_path / "in/interactions.csv").write_text("user_id,item_id,timestamp\nu,a,1\n")
    assert tastestream("data", "import", str(tmp_path / "in"), str(tmp_path / "out")).code == 0
    items = read_dataset(tmp_path / "out").items
    assert list(items) == ["a", "b", "c", "d", "e"]
    assert [name for name, item in items.items() if item.image] == ["a"]
    assert [path.read_bytes() for path in (tmp_path / "out/images").iterdir()] == [b"picture"]


def test_the_next_step_is_named(tastestream: Run, tmp_path: Path) -> None:
    source, out = tmp_path / "amazon", tmp_path / "out"
    source.mkdir()
    images = '[{"variant": "MAIN", "large": "https://example.com/a.jpg"}]'
    (source / "meta_Baby.jsonl").write_text(f'{{"parent_asin": "A", "title": "Cup", "images": {images}}}\n')
    (source / "Baby.csv").write_text("user_id,parent_asin,rating,timestamp\nu,A,5,1600000000000\n")
    ended = tastestream("data", "import", str(source), str(out))
    assert ended.code == 0
    assert f"1 items name a picture by its URL; download them: tastestream data pictures {out}" in ended.out
    assert f"tastestream data check {out}" in ended.out


def test_a_failed_import_leaves_nothing_and_is_reported_in_one_sentence(tastestream: Run, tmp_path: Path) -> None:
    source = movielens(tmp_path / "ml")
    (source / "ratings.dat").write_text("8::1::5\n")
    ended = tastestream("data", "import", str(source), str(tmp_path / "out"))
    assert ended.code == 1
    assert "ratings.dat, line 1: 3 fields" in ended.err
    assert "Traceback" not in ended.err
    assert not (tmp_path / "out").exists()


def tables(folder: Path, interactions: str = "u,a,1\n") -> Path:
    (folder / "images").mkdir(parents=True)
    (folder / "images/a.png").write_bytes(b"picture")
    (folder / "items.csv").write_text("item_id,title\na,A\n,B\n")
    (folder / "interactions.csv").write_text(f"user_id,item_id,timestamp\n{interactions}")
    return folder


@pytest.mark.parametrize(
    ("interactions", "reason"), [("", "it is empty"), ("u,a,soon\n", "interactions.csv, line 2: timestamp 'soon'")]
)
def test_an_import_without_interactions_keeps_the_old_dataset(
    tastestream: Run, tmp_path: Path, interactions: str, reason: str
) -> None:
    assert tastestream("data", "import", str(tables(tmp_path / "in")), str(tmp_path / "out")).code == 1
    ended = tastestream("data", "import", str(tables(tmp_path / "bad", interactions)), str(tmp_path / "out"), "--force")
    assert ended.code == 1
    assert f"has no valid interaction; {reason}" in ended.err
    assert list(read_dataset(tmp_path / "out").histories) == ["u"]


@pytest.mark.parametrize("inside", ["", "images", "before"])
def test_an_import_never_replaces_its_source(tastestream: Run, tmp_path: Path, inside: str) -> None:
    source = tables(tmp_path / "out" / inside)
    for one in (source, source / "items.csv"):
        ended = tastestream("data", "import", str(one), str(tmp_path / "out"), "--force")
        assert ended.code == 1
        assert "write into another folder" in ended.err
    assert (source / "images/a.png").exists()
    assert not (source / "items.jsonl").exists()


def test_what_is_no_source_is_named_with_what_to_do(tastestream: Run, tmp_path: Path) -> None:
    source, out = tables(tmp_path / "in"), str(tmp_path / "out")
    assert "is one table, of items: put it and" in tastestream("data", "import", str(source / "items.csv"), out).err
    assert tastestream("data", "import", str(source), out).code == 1, "a row was rejected"
    again = tastestream("data", "import", out, str(tmp_path / "again"))
    assert again.err == f"error: {out} is a dataset folder already: use it as it is\n"
    (tmp_path / "file").write_text("")
    ended = tastestream("data", "import", str(source), str(tmp_path / "file"))
    assert ended.err == f"error: {tmp_path / 'file'} is not a folder: name a new one\n"


def test_the_command_knows_every_layout() -> None:
    assert set(get_args(LayoutName)) == set(LAYOUTS)
