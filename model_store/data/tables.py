"""Delimited tables: CSV, TSV and their relatives, read row by row with the line of each."""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from model_store.data.text_files import DataFileError, Encoding, open_text

_DELIMITERS = ("\t", ",", ";", "|")
_FIELD_CHARS = 1_000_000
_WORD = re.compile(r"[^a-z0-9]+")
Row = dict[str, str]


def rows(
    path: Path,
    aliases: Mapping[str, Sequence[str]],
    required: Iterable[str],
    *,
    columns: Sequence[str] | None = None,
    delimiter: str | None = None,
    encoding: Encoding | None = None,
) -> Iterator[tuple[int, Row]]:
    """The rows of a table with the number of their first line, as far as their columns are known.

    Args:
        aliases: for each name that a row may have, the names that a column of the file may have. Case, spaces and
            punctuation of those are ignored.
        required: names that must be there.
        columns: the names of the columns, for a file without a header.
        delimiter: what separates fields; by default that of tab, comma, semicolon and bar which the header has most of.

    Raises:
        DataFileError: no header, a required column is missing, a quote is not closed, or a row is short of fields.
    """
    with open_text(path, encoding) as text:
        first = text.readline()
        if not first.strip():
            raise DataFileError(f"{path} is empty")
        delimiter = delimiter or max(_DELIMITERS, key=first.count)
        numbered = _Numbered(first, text)
        reader = csv.reader(numbered, delimiter=delimiter, strict=True)
        csv.field_size_limit(_FIELD_CHARS)
        names = columns or next(_records(path, reader, numbered))[1]
        places = _places(path, names, aliases, tuple(required))
        width = len(names)
        for line, fields in _records(path, reader, numbered):
            if len(fields) < width and any(place >= len(fields) for place in places.values()):
                raise DataFileError(f"{path}, line {line}: {len(fields)} fields, where the header has {width}")
            yield line, {name: fields[place] for name, place in places.items()}


class _Numbered:
    """Lines, and how many were given out."""

    def __init__(self, first: str, others: Iterable[str]) -> None:
        self._first: str | None = first
        self._others = iter(others)
        self.line = 0

    def __iter__(self) -> "_Numbered":
        return self

    def __next__(self) -> str:
        self.line += 1
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return next(self._others)


def _records(path: Path, reader: Iterator[list[str]], numbered: _Numbered) -> Iterator[tuple[int, list[str]]]:
    while True:
        line = numbered.line + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataFileError(f"{path}, line {line}: {_remedy(str(error))}") from None
        if fields:
            yield line, fields


def _remedy(message: str) -> str:
    if "unexpected end of data" in message or "field larger" in message:
        return 'a quote that begins here is not closed; close it, or double it where it belongs to the text ("")'
    if "expected after" in message:
        return 'a quote in the middle of a field; put the whole field into quotes, and double those inside ("")'
    if "NUL" in message:
        return "a NUL character; the file is damaged, or not a text"
    return message


def _places(
    path: Path, names: Sequence[str], aliases: Mapping[str, Sequence[str]], required: Sequence[str]
) -> dict[str, int]:
    known = {_plain(name): place for place, name in reversed(list(enumerate(names)))}
    places = {}
    for wanted, others in aliases.items():
        place = next((known[plain] for one in (wanted, *others) if (plain := _plain(one)) in known), None)
        if place is not None:
            places[wanted] = place
    missing = [name for name in required if name not in places]
    if missing:
        shown = ", ".join(name[:40] for name in names[:20])
        also = f" (or {', '.join(aliases[missing[0]])})" if aliases[missing[0]] else ""
        raise DataFileError(f"{path} has no column {missing[0]}{also}; its columns are: {shown}")
    return places


def _plain(name: str) -> str:
    return _WORD.sub("", name.lower())
