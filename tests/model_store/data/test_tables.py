"""Tables with any common delimiter are read; errors name the line of a row that can't be read."""

from pathlib import Path

import pytest

from model_store.data.tables import rows
from model_store.data.text_files import DataFileError

ALIASES = {"user_id": ("userId", "user"), "item_id": ("movieId",), "rating": ()}


def table(folder: Path, content: str) -> Path:
    path = folder / "table.csv"
    path.write_text(content, "utf-8")
    return path


def read(path: Path) -> list[tuple[int, dict[str, str]]]:
    return list(rows(path, ALIASES, ("user_id", "item_id")))


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_fields_are_separated_by_what_the_header_has(tmp_path: Path, separator: str, end: str) -> None:
    lines = [("userId", "movieId", "rating"), ("1", "2", "3,5" if separator != "," else "3.5")]
    path = table(tmp_path, "".join(separator.join(line) + end for line in lines))
    assert read(path) == [(2, {"user_id": "1", "item_id": "2", "rating": lines[1][2]})]


def test_columns_are_known_by_other_names_in_any_order_and_others_left_out(tmp_path: Path) -> None:
    assert read(table(tmp_path, "x,Movie ID,USER\n9,2,1\n\n9,4,3\n")) == [
        (2, {"item_id": "2", "user_id": "1"}),
        (4, {"item_id": "4", "user_id": "3"}),
    ]


def test_quoted_fields_may_hold_separators_quotes_and_line_ends(tmp_path: Path) -> None:
    path = table(tmp_path, 'user,movieId\n"a, ""b""\nc",1\nd,2\n')
    assert read(path) == [(2, {"user_id": 'a, "b"\nc', "item_id": "1"}), (4, {"user_id": "d", "item_id": "2"})]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("a,b\n1,2\n", r"has no column user_id \(or userId, user\); its columns are: a, b"),
        ('user,movieId\n1,2\n"3,4\n' + "5,6\n" * 9, "line 3: a quote that begins here is not closed"),
        ('user,movieId\n"1"x,2\n', "line 2: a quote in the middle of a field"),
        ("user,movieId\n1,2\n3\n", "line 3: 1 fields, where the header has 2"),
        (
            "user;movieId\n1;2;\n3;4;;5\n",
            "line 3: 4 fields, where the header has 2; put a field with a semicolon",
        ),
    ],
)
def test_what_can_not_be_read_is_named_with_its_line(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataFileError, match=message):
        read(table(tmp_path, content))


def test_an_unclosed_quote_in_a_large_file_is_named_where_it_begins(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="line 2: a quote that begins here"):
        read(table(tmp_path, 'user,movieId\n"1,2\n' + "3,4\n" * 400_000))
