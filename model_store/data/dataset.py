"""The dataset folder that training, evaluation and replay read.

| file               | holds                                                                         |
| ------------------ | ----------------------------------------------------------------------------- |
| `items.jsonl`      | `item_id`, `title`, optional `description`, `genres`, `tags`, `image`, `caption` |
| `interactions.csv` | `user_id,item_id,timestamp[,rating][,type]`, sorted by user and time          |
| `images/`          | the pictures that `image` names                                               |

`caption` says what the picture shows: it is the target of the `describe` job and is never sent
to the service. Ids are strings, whatever the files hold. `genres` and `tags` are arrays, or texts
whose terms are separated by `|`, `;` or `,`. Both files may be of any encoding that
`data.text_files` knows, and compressed (`items.jsonl.gz`).

An interaction without a type is a `rating` if it has one, else a `click`; what types and ratings
mean is in `signals`. Exposures are left out, as a prompt never shows them.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from model_store.data import tables, text_files, values
from model_store.data.text_files import DataFileError
from model_store.errors import UserError
from model_store.signals import BUILT_IN, Signals
from model_store.views import ItemView

Split = Literal["train", "validation", "test"]
ITEMS, INTERACTIONS, IMAGES = "items.jsonl", "interactions.csv", "images"
HELD_OUT = 'user_split(user_id) == "test"'
"""The rule, as manifests state it, that names the users no training step sees."""


class DatasetError(UserError):
    """A dataset folder is incomplete or malformed; the message names the file and the line."""


@dataclass(frozen=True, slots=True)
class DatasetItem:
    """One item of the catalogue; `image` is the path of its picture, `caption` what it shows."""

    item_id: str
    title: str
    description: str = ""
    genres: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    image: Path | None = None
    caption: str = ""

    def view(self, summary: str = "") -> ItemView:
        """The item as a prompt sees it, with its picture read from disk."""
        picture = None if self.image is None else self.image.read_bytes()
        return ItemView(self.title, self.genres, self.tags, self.description, summary, picture)


@dataclass(frozen=True, slots=True)
class Interaction:
    """One line of `interactions.csv`; `timestamp` in seconds. `value` is the rating of a row that has one."""

    item_id: str
    type: str
    timestamp: float
    value: float | None = None
    signals: Signals = field(default=BUILT_IN, repr=False, compare=False)

    @property
    def liked(self) -> bool:
        return self.signals(self.type, self.value) == "positive"

    @property
    def disliked(self) -> bool:
        return self.signals(self.type, self.value) == "negative"


@dataclass(frozen=True)
class Dataset:
    """A catalogue and the users' histories, each oldest first."""

    items: dict[str, DatasetItem]
    histories: dict[str, tuple[Interaction, ...]] = field(repr=False)

    @cached_property
    def has_pictures(self) -> bool:
        return any(item.image is not None for item in self.items.values())

    def users(self, *splits: Split) -> list[str]:
        """The users of these splits, in the file's order."""
        return [user for user in self.histories if user_split(user) in splits]


def user_split(user_id: str) -> Split:
    """Assign a user for good, by a hash of the id: 85 % train, 5 % validation, 10 % test."""
    place = int.from_bytes(hashlib.sha256(user_id.encode()).digest()[:8], "big") % 100
    if place < 85:
        return "train"
    return "validation" if place < 90 else "test"


def read_dataset(folder: Path, signals: Signals = BUILT_IN) -> Dataset:
    """Read the dataset folder at `folder`; `signals` says what its interactions mean.

    An interaction with an unknown item is kept: a service must live with those too.

    Raises:
        DatasetError: a file is missing, or a line is malformed.
    """
    return Dataset({item.item_id: item for item in read_items(folder)}, _histories(folder / INTERACTIONS, signals))


def read_items(folder: Path) -> Iterator[DatasetItem]:
    """Yield the items of a dataset folder.

    Raises:
        DatasetError: `items.jsonl` is missing, or a line of it is malformed.
    """
    path = _require(folder / ITEMS)
    for number, line in text_files.lines(path):
        try:
            yield _item(_parsed(line), folder)
        except ValueError as error:
            raise DatasetError(f"{path}, line {number}: {error}") from None


def _parsed(line: str) -> dict[str, Any]:
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


def _item(fields: dict[str, Any], folder: Path) -> DatasetItem:
    """
    Raises:
        ValueError: the id or the title is missing, or a field is of another kind; the message names it.
    """
    read: dict[str, Callable[[Any], Any]] = {
        "item_id": values.identity,
        "title": values.text,
        "description": values.text,
        "genres": values.terms,
        "tags": values.terms,
        "image": values.text,
        "caption": values.text,
    }
    found = {}
    for name, of in read.items():
        try:
            found[name] = of(fields.get(name))
        except ValueError as error:
            raise ValueError(f"{name} {error}") from None
    if not found["title"]:
        raise ValueError("title is missing, null or empty; every item needs one")
    image = found.pop("image")
    return DatasetItem(**found, image=folder / IMAGES / image if image else None)


_COLUMNS = {"user_id": (), "item_id": (), "timestamp": (), "rating": (), "type": ()}


def _histories(path: Path, signals: Signals) -> dict[str, tuple[Interaction, ...]]:
    path = _require(path)
    histories: dict[str, list[Interaction]] = {}
    try:
        for line, row in tables.rows(path, _COLUMNS, ("user_id", "item_id", "timestamp")):
            try:
                user_id, item_id = (values.identity(row[name]) for name in ("user_id", "item_id"))
                rating = values.number(row["rating"]) if row.get("rating") else None
                kind = row.get("type") or ("click" if rating is None else "rating")
                if signals.is_exposure(kind):
                    continue
                event = Interaction(item_id, kind, values.seconds(row["timestamp"]), rating, signals)
            except ValueError as error:
                raise DatasetError(f"{path}, line {line}: {error}") from None
            histories.setdefault(user_id, []).append(event)
    except DataFileError as error:
        raise DatasetError(str(error)) from None
    return {user: tuple(sorted(events, key=lambda event: event.timestamp)) for user, events in histories.items()}


def _require(path: Path) -> Path:
    """`path`, or the same with `.gz`."""
    found = text_files.find(path)
    if not found.is_file():
        raise DatasetError(
            f"{path} is missing: a dataset folder has {ITEMS}, {INTERACTIONS} and, for pictures, {IMAGES}/"
        )
    return found
