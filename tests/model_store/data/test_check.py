"""A dataset that can't be used is refused at once, and what is doubtful about one is found."""

import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from model_store.data.check import require
from model_store.data.dataset import DatasetError, Split, read_dataset, user_split
from model_store.data.statistics.distributions import Distribution, gini, top_share
from model_store.data.statistics.report import CheckReport, check_folder
from model_store.signals import BUILT_IN

NOW = 1_700_000_000
ITEMS = "".join(f'{{"item_id": "{name}", "title": "Title {name}"}}\n' for name in "abcdefgh")
COUNTS = st.lists(st.integers(0, 50), min_size=1, max_size=30)


def users(split: Split) -> Iterator[str]:
    return (user for n in itertools.count() if user_split(user := f"u{n}") == split)


def row(user: str, item: str, time: float, rating: object = 5, kind: str = "") -> str:
    return f"{user},{item},{time},{rating},{kind}\n"


def rows_of(split: Split, count: int, items: str = "abc", start: float = NOW) -> str:
    chosen = itertools.islice(users(split), count)
    return "".join(row(user, item, start + n) for user in chosen for n, item in enumerate(items))


def write(folder: Path, rows: str, items: str = ITEMS) -> Path:
    (folder / "items.jsonl").write_text(items)
    (folder / "interactions.csv").write_text("user_id,item_id,timestamp,rating,type\n" + rows)
    return folder


def good(folder: Path) -> Path:
    return write(folder, rows_of("train", 5) + rows_of("validation", 2, "bcd") + rows_of("test", 3, "acd"))


def checked(folder: Path) -> CheckReport:
    return check_folder(folder, BUILT_IN)


def test_a_usable_dataset_has_no_fault(tmp_path: Path) -> None:
    require(read_dataset(good(tmp_path)), "training", "evaluation")
    report = checked(tmp_path)
    assert report.errors == []
    assert report.leaks.cases == 3


@pytest.mark.parametrize(
    ("rows", "items", "message"),
    [
        (rows_of("train", 5), "", "catalogue is empty"),
        ("", ITEMS, "no interactions"),
        (row("u1", "a", NOW, "", "impression") * 3, ITEMS, "only exposures"),
        (rows_of("train", 5, "xyz"), ITEMS, "such as 'x', items.jsonl such as 'a'"),
        (row("u1", "a", NOW, "", "peek") * 3, ITEMS, r"peek \(3\).*TASTESTREAM_SIGNALS__POSITIVE"),
        (rows_of("train", 1, "abcdefgh"), ITEMS, "one user"),
        (rows_of("train", 5, "a") + rows_of("test", 5), ITEMS, "no user of the train split"),
        (rows_of("train", 5), ITEMS, "none of the 0 test users"),
        (rows_of("train", 5) + rows_of("test", 3, "aa"), ITEMS, "none of the 3 test users"),
    ],
)
def test_an_unusable_dataset_is_refused_with_the_remedy(tmp_path: Path, rows: str, items: str, message: str) -> None:
    dataset = read_dataset(write(tmp_path, rows, items))
    with pytest.raises(DatasetError, match=message):
        require(dataset, "training", "evaluation")
    assert checked(tmp_path).errors


def test_a_dataset_that_can_only_be_trained_on_is_refused_for_evaluation_alone(tmp_path: Path) -> None:
    dataset = read_dataset(write(tmp_path, rows_of("train", 5)))
    require(dataset, "training")
    with pytest.raises(DatasetError):
        require(dataset, "evaluation")


def picture(colour: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(out, "BMP")
    return out.getvalue()


def test_pictures_that_are_missing_or_unreadable_are_found(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.png").write_bytes(picture("red"))
    (tmp_path / "images/b.png").write_bytes(picture("red"))
    (tmp_path / "images/c.png").write_bytes(picture("blue")[:-20])
    (tmp_path / "images/d.png").write_text("<html>")
    items = "".join(f'{{"item_id": "{name}", "title": "T", "image": "{name}.png"}}\n' for name in "abcde")
    good(tmp_path)
    (tmp_path / "items.jsonl").write_text(items)
    found = checked(tmp_path).items
    assert found.missing == ["e"]
    assert set(found.unreadable) == {"c", "d"}
    assert (found.same_picture, found.look_alikes, set(found.alike)) == (1, 1, {"a", "b"})
    with pytest.raises(DatasetError, match=r"1 items name a picture that is not in images/ \(items e\)"):
        require(read_dataset(tmp_path), "training")
    assert len(checked(tmp_path).errors) == 2


@pytest.mark.parametrize("name", ["a\0.png", "n" * 300])
def test_a_picture_whose_name_no_file_can_have_is_missing_or_unreadable(tmp_path: Path, name: str) -> None:
    (good(tmp_path) / "images").mkdir()
    item = json.dumps({"item_id": "a", "title": "A", "image": name})
    (tmp_path / "items.jsonl").write_text(ITEMS.replace(ITEMS.splitlines()[0], item))
    for read in (True, False):
        found = check_folder(tmp_path, BUILT_IN, read_pictures=read).items
        assert [*found.missing, *found.unreadable] == ["a"]
    with pytest.raises(DatasetError, match=r"not in images/ \(items a\)"):
        require(read_dataset(tmp_path), "training")


def test_a_user_who_is_a_copy_of_a_training_user_is_a_leak(tmp_path: Path) -> None:
    rows = rows_of("train", 3, "abcde") + rows_of("test", 1, "abcde")
    assert checked(write(tmp_path, rows)).leaks.duplicate_users == 1
    other = rows_of("train", 3, "abcde") + rows_of("test", 1, "abced")
    assert checked(write(tmp_path, other)).leaks.duplicate_users == 0


def test_targets_that_were_met_before_look_alike_or_are_cold(tmp_path: Path) -> None:
    one, two, three = itertools.islice(users("test"), 3)
    twins = ITEMS + '{"item_id": "a2", "title": "title A"}\n'
    tests = [(one, ("a", "b", "a")), (two, ("a", "c", "a2")), (three, ("a", "h"))]
    rows = "".join(row(user, item, NOW + n) for user, met in tests for n, item in enumerate(met))
    leaks = checked(write(tmp_path, rows_of("train", 4, ("a", "b", "c", "a2")) + rows, twins)).leaks  # type: ignore[arg-type]
    assert (leaks.cases, leaks.repeated, leaks.look_alikes, leaks.cold) == (3, 1, 1, 1)


def test_training_interactions_later_than_targets_are_a_share(tmp_path: Path) -> None:
    rows = rows_of("train", 1, "ab", NOW) + rows_of("train", 1, "cd", NOW + 1000) + rows_of("test", 1, "ab", NOW + 100)
    assert checked(write(tmp_path, rows)).leaks.later == 0.5
    positions = rows_of("train", 4, "abcd", 0) + rows_of("test", 2, "abc", 0)
    report = checked(write(tmp_path, positions))
    assert report.leaks.later is None
    assert any("not clock times" in warning for warning in report.warnings)


def test_mistakes_in_the_interactions_are_counted(tmp_path: Path) -> None:
    user = next(users("train"))
    rows = rows_of("test", 2, "abc") + row(user, "a", NOW + 9) + row(user, "b", NOW) * 2 + row(user, "x", 9e9)
    rows += row(user, "c", NOW, "", "wink") + row(user, "d", NOW, 9)
    report = checked(write(tmp_path, rows, ITEMS + ITEMS[:36] + "\n"))
    found = report.interactions
    assert (found.duplicates, found.unknown) == (1, 1)
    assert found.times is not None
    assert (found.times.future, found.times.users_out_of_order) == (1, 1)
    assert found.times.ties == pytest.approx(3 / (len(rows.splitlines()) - 3))
    assert (found.types["rating"].positive, found.types["wink"].neutral) == (11, 1)
    text = " ".join(report.warnings)
    for part in (
        "wink",
        "exact copies",
        "in the future",
        "rating reaches 9",
        "x: prompts show",
        "the id of another line",
    ):
        assert part in text, part


@given(COUNTS)
def test_gini_is_that_of_its_definition(counts: list[int]) -> None:
    pairs = sum(abs(a - b) for a in counts for b in counts)
    total = sum(counts)
    assert gini(counts) == pytest.approx(pairs / (2 * len(counts) * total) if total else 0.0)


def test_top_share_and_percentiles() -> None:
    assert top_share([10, *[1] * 90], 0.01) == 0.1
    assert top_share([], 0.1) == 0.0
    found = Distribution.of(range(1, 101))
    assert found is not None
    assert (found.least, found.p10, found.median, found.p99, found.most, found.mean) == (1, 10, 50, 99, 100, 50.5)
    assert Distribution.of([]) is None
