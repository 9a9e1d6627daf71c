"""The rows of a dataset folder: one item, one interaction, however their parts were written."""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from model_store.data import values


class InteractionRow(NamedTuple):
    """One interaction; `timestamp` in Unix seconds. Where `type` is "", the rating says what it was."""

    user_id: str
    item_id: str
    timestamp: float
    rating: float | None = None
    type: str = ""


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
        "caption": _part("caption", values.text, caption),
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


def json_object(line: str) -> dict[str, Any]:
    """The object of a line of JSON.

    Raises:
        ValueError: the line holds none.
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
