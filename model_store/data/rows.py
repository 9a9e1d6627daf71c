"""The rows of a dataset folder: one item or one interaction, whatever form their parts have in the source."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from model_store.data import values
from model_store.data.text_files import lines

_STARS = 5


class InteractionRow(NamedTuple):
    """One interaction; `timestamp` in Unix seconds. If `type` is "", the rating decides what it was."""

    user_id: str
    item_id: str
    timestamp: float
    rating: float | None = None
    type: str = ""


class Rejected(NamedTuple):
    """A row that can't be used, and why. `line` counts from 1."""

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
    caption: Any = None,
) -> dict[str, Any]:
    """An item as `items.jsonl` holds it, without empty parts.

    Raises:
        ValueError: the id or the title is missing, or a part has the wrong type; the message names the part.
    """
    required = {"item_id": _part("item_id", values.identity, item_id), "title": _part("title", values.text, title)}
    if not required["title"]:
        raise ValueError("title is missing or empty")
    optional = {
        "description": _part("description", values.text, description),
        "genres": list(_part("genres", values.terms, genres)),
        "tags": list(_part("tags", values.terms, tags)),
        "image": _part("image", values.text, image),
        "image_url": _part("image_url", values.text, image_url),
        "attributes": dict(attributes or {}),
        "caption": _part("caption", values.text, caption),
    }
    return required | {name: value for name, value in optional.items() if value}


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
        ValueError: a part is missing or has the wrong type; the message names it.
    """
    return InteractionRow(
        _part("user_id", values.identity, user_id),
        _part("item_id", values.identity, item_id),
        _part("timestamp", values.seconds, timestamp),
        None if rating in (None, "") else _part("rating", values.number, rating),
        _part("type", values.text, type),
    )


def five_stars(*, rating: Any, **parts: Any) -> InteractionRow:
    """An interaction in a source of ratings up to five stars. Without its rating it would count as a click.

    Raises:
        ValueError: as `interaction`, or the rating is missing or not on the scale.
    """
    if rating in (None, ""):
        raise ValueError("rating is missing")
    found = interaction(rating=rating, **parts)
    if not 0 <= (found.rating or 0) <= _STARS:
        raise ValueError(f"rating {rating} is not on the scale from 0 to {_STARS}")
    return found


def converted(path: Path, line: int, convert: Callable[..., Any], /, *row: Any, **fields: Any) -> Any:
    """What `convert` returns for the row, or why the row is rejected."""
    try:
        return convert(*row, **fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        return Rejected(path.name, line, reason)


def json_rows(path: Path, convert: Callable[[dict[str, Any]], Any]) -> Iterator[Any]:
    """What `convert` returns for the object in each line of a JSON-lines file, or why the line is rejected."""
    for number, line in lines(path):
        yield converted(path, number, lambda line: convert(json_object(line)), line)


def json_object(line: str) -> dict[str, Any]:
    """The object of a line of JSON.

    Raises:
        ValueError: the line is not a JSON object.
    """
    try:
        found = json.loads(line.removeprefix("\ufeff"))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:
        if line.lstrip().startswith("["):
            raise ValueError("one JSON array; write one object a line (jq -c '.[]')") from None
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError("not a JSON object; write one item a line")
    return found


def _part(name: str, read: Callable[[Any], Any], value: Any) -> Any:
    try:
        return read(value)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None
