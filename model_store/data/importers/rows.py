"""What importers yield."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from model_store.data import values
from model_store.data.text_files import find, lines


class InteractionRow(NamedTuple):
    """One interaction; `timestamp` in Unix seconds. Where `type` is "", the rating says what it was."""

    user_id: str
    item_id: str
    timestamp: float
    rating: float | None = None
    type: str = ""


class Rejected(NamedTuple):
    """A row that can't be used, and why. `line` is counted from 1."""

    file: str
    line: int
    reason: str


def item(
    *,
    item_id: Any,
    title: Any,
    description: Any = None,
    genres: Any = None,
    tags: Any = None,
    image: Any = None,
    image_url: Any = None,
    attributes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """An item as `items.jsonl` holds it, without what is empty.

    Raises:
        ValueError: it has no id or no title, or a part is of the wrong kind; the message names the part.
    """
    found: dict[str, Any] = {"item_id": _part("item_id", values.identity, item_id)}
    found["title"] = _part("title", values.text, title)
    if not found["title"]:
        raise ValueError("title is missing or empty")
    optional = {
        "description": _part("description", values.text, description),
        "genres": list(_part("genres", values.terms, genres)),
        "tags": list(_part("tags", values.terms, tags)),
        "image": _part("image", values.text, image),
        "image_url": _part("image_url", values.text, image_url),
        "attributes": dict(attributes or {}),
    }
    return {**found, **{name: value for name, value in optional.items() if value}}


def interaction(
    *,
    user_id: Any,
    item_id: Any,
    timestamp: Any,
    rating: Any = None,
    type: Any = None,  # noqa: A002 - the name of the column
) -> InteractionRow:
    """
    Raises:
        ValueError: a part is missing or of the wrong kind; the message names it.
    """
    return InteractionRow(
        _part("user_id", values.identity, user_id),
        _part("item_id", values.identity, item_id),
        _part("timestamp", values.seconds, timestamp),
        None if rating in (None, "") else _part("rating", values.number, rating),
        _part("type", values.text, type),
    )


def json_rows(path: Path) -> Iterator[tuple[int, Any]]:
    """The objects of a JSON-lines file by line; an error stands for a line that holds none."""
    for number, line in lines(find(path)):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield number, ValueError(f"not JSON: {error}")
            continue
        yield number, found if isinstance(found, dict) else ValueError("not a JSON object")


def made(path: Path, line: int, make: Callable[..., Any], /, *row: Any, **fields: Any) -> Any:
    """What `make` returns for the row, or why the row is rejected."""
    try:
        return make(*row, **fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        return Rejected(path.name, line, reason)


def _part(name: str, read: Callable[[Any], Any], value: Any) -> Any:
    try:
        return read(value)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None
