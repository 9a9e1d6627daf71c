"""Delimited tables such as CSV and TSV, read row by row with the line number of each."""

import csv
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from model_store.data.text_files import DataFileError, Encoding, open_text

_NAMES = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar"}
"""The delimiters that are tried."""
_FIELD_CHARS = 1_000_000
_PUNCTUATION = re.compile(r"[^a-z0-9]+")


def rows(
    path: Path, aliases: Mapping[str, Sequence[str]], required: Collection[str], encoding: Encoding | None = None
) -> Iterator[tuple[int, dict[str, str]]]:
    """The known columns of each row of a table, with the number of the row's first line.

    Fields are separated by tab, comma, semicolon or bar, whichever the header has most of.

    Args:
        aliases: for each name that a row may have, other names that the column may have in the file. Case, spaces and
            punctuation are ignored.
        required: the names of columns that the file must have.

    Raises:
        DataFileError: no header, a required column is missing, a quote is not closed, or a row has too few or too many
            fields.
    """
    with open_text(path, encoding) as text:
        first = text.readline()
        if not first.strip():
            raise DataFileError(f"{path} is empty")
        delimiter = max(_NAMES, key=first.count)
        reader = csv.reader(chain((first,), text), delimiter=delimiter, strict=True)
        csv.field_size_limit(_FIELD_CHARS)
        records = _records(path, reader)
        _, names = next(records)
        places = _places(path, names, aliases, required)
        width = len(names)
        for line, fields in records:
            if len(fields) < width and any(place >= len(fields) for place in places.values()):
                raise DataFileError(f"{path}, line {line}: {len(fields)} fields, where the header has {width}")
            if any(fields[width:]):
                raise DataFileError(
                    f"{path}, line {line}: {len(fields)} fields, where the header has {width}; put a field with a "
                    f"{_NAMES[delimiter]} in it into quotes"
                )
            yield line, {name: fields[place] for name, place in places.items()}


def _records(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    while True:
        line = reader.line_num + 1
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
    path: Path, names: Sequence[str], aliases: Mapping[str, Sequence[str]], required: Collection[str]
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
    return _PUNCTUATION.sub("", name.lower())
