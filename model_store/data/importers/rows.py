"""What importers yield."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from model_store.data.rows import InteractionRow, interaction, item, json_object
from model_store.data.text_files import find, lines

__all__ = ["InteractionRow", "Rejected", "interaction", "item", "json_rows", "made"]


class Rejected(NamedTuple):
    """A row that can't be used, and why. `line` is counted from 1."""

    file: str
    line: int
    reason: str


def json_rows(path: Path) -> Iterator[tuple[int, Any]]:
    """The objects of a JSON-lines file by line; an error stands for a line that holds none."""
    for number, line in lines(find(path)):
        try:
            yield number, json_object(line)
        except ValueError as error:
            yield number, error


def made(path: Path, line: int, make: Callable[..., Any], /, *row: Any, **fields: Any) -> Any:
    """What `make` returns for the row, or why the row is rejected."""
    try:
        return make(*row, **fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        return Rejected(path.name, line, reason)
