"""Text files in common encodings are read; others are rejected with the line and the remedy."""

import gzip
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.data.text_files import DataFileError, detect, find, lines, open_text

TEXT = "Amélie\nAm Ende der Straße\n東京物語\nÀ bout de souffle\n"
LATIN = "Amélie\nStraße\nÀ bout\n"


def read(path: Path) -> str:
    with open_text(path) as text:
        return text.read()


@pytest.mark.parametrize(
    ("encoding", "text", "note"),
    [
        ("utf-8", TEXT, ""),
        ("utf-8-sig", TEXT, ""),
        ("utf-16", TEXT, "UTF-16"),
        ("utf-16-le", "a plain line of Latin text, café\n" * 3, "UTF-16"),
        ("utf-16-be", "a plain line of Latin text, café\n" * 3, "UTF-16"),
        ("utf-32", TEXT, ""),
        ("latin-1", LATIN, "Windows-1252 (Latin-1)"),
        ("cp1252", "“Amélie” – 5 €\n", "Windows-1252 (Latin-1)"),
        ("ascii", "plain\n", ""),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_every_common_encoding_is_read(tmp_path: Path, encoding: str, text: str, note: str, zipped: bool) -> None:
    path = tmp_path / "file"
    content = text.encode(encoding)
    path.write_bytes(gzip.compress(content) if zipped else content)
    assert read(path) == text
    assert note in detect(path).note
    assert bool(detect(path).note) == bool(note)


def test_a_damaged_line_of_a_utf8_file_is_named_instead_of_guessing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(TEXT.encode() + b"caf\xe9\n" + TEXT.encode())
    with pytest.raises(DataFileError, match="line 5: not UTF-8"):
        detect(path)
    assert detect(path, tolerant=True).name == "utf-8"


def test_the_line_is_right_in_a_large_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(("é" * 99 + "\n").encode() * 30_000 + b"\xff\n")
    with pytest.raises(DataFileError, match="line 30001:"):
        detect(path)


def test_what_is_in_no_known_encoding_is_named_without_the_word_charmap(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"Am\x81lie\n")
    with pytest.raises(DataFileError, match=r"file is not UTF-8, or Windows-1252 \(Latin-1\), throughout: convert it"):
        read(path)


@pytest.mark.parametrize("cut", [1, 8, 20])
def test_a_gzip_file_that_is_cut_short_is_named(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(TEXT.encode() * 99)[:-cut])
    with pytest.raises(DataFileError, match="cut short or damaged"):
        read(path)


def test_an_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "ml-1m.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "b")
    with pytest.raises(DataFileError, match="unpack it"):
        detect(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="nowhere can't be read"):
        detect(tmp_path / "nowhere")


def test_a_compressed_file_is_found_by_the_plain_name(tmp_path: Path) -> None:
    zipped = tmp_path / "items.jsonl.gz"
    zipped.write_bytes(gzip.compress(b"a\n\n \nb\n"))
    assert find(tmp_path / "items.jsonl") == zipped
    assert list(lines(zipped)) == [(1, "a\n"), (4, "b\n")]


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_in_words(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes(content)
    with suppress(DataFileError):
        read(path)
