"""The dataset folder that training, evaluation and replay read: its reader and its writer.

| file               | holds                                                                         |
| ------------------ | ----------------------------------------------------------------------------- |
| `items.jsonl`      | `item_id`, `title`, optional `description`, `genres`, `tags`, `image`, `caption` |
| `interactions.csv` | `user_id,item_id,timestamp[,rating][,type]`, sorted by user and time          |
| `images/`          | the pictures that `image` names                                               |

`caption` describes the picture: it is the target of the `describe` job and is never sent to the
service. Ids are strings, even if the files have numbers. `genres` and `tags` are arrays, or texts
whose terms are separated by `|`, `;` or `,`. Both files may have any encoding that
`data.text_files` knows, and be compressed (`items.jsonl.gz`).

An interaction without a type is a `rating` if it has one, else a `click`; `signals` defines what
types and ratings mean. Exposures are left out, since prompts never show them.
"""

import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

from model_store.data import tables, text_files
from model_store.data.rows import InteractionRow, interaction, item, json_object
from model_store.data.text_files import DataFileError
from model_store.errors import UserError
from model_store.signals import BUILT_IN, Signals

Split = Literal["train", "validation", "test"]
ITEMS, INTERACTIONS, IMAGES = "items.jsonl", "interactions.csv", "images"
_FIELDS = ("item_id", "title", "description", "genres", "tags", "image", "caption")
_REQUIRED = ("user_id", "item_id", "timestamp")
HELD_OUT = 'user_split(user_id) == "test"'
"""The rule, as manifests state it, for users who are not used in training."""


class DatasetError(UserError):
    """A dataset folder is incomplete or malformed; the message names the file and the line."""


@dataclass(frozen=True, slots=True)
class DatasetItem:
    """One item of the catalogue; `image` is the path of its picture, which `caption` describes."""

    item_id: str
    title: str
    description: str = ""
    genres: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    image: Path | None = None
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Interaction:
    """One line of `interactions.csv`; `timestamp` in seconds. `value` is its rating if events of its type have one."""

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
    """Assign a user by a hash of the id: 85 % train, 5 % validation, 10 % test."""
    place = int.from_bytes(hashlib.sha256(user_id.encode()).digest()[:8], "big") % 100
    if place < 85:
        return "train"
    return "validation" if place < 90 else "test"


def read_dataset(folder: Path, signals: Signals = BUILT_IN) -> Dataset:
    """Read the dataset folder at `folder`; `signals` defines what its interactions mean.

    Interactions with unknown items are kept, since a service receives them as well.

    Raises:
        DatasetError: a file is missing, or a line is malformed.
    """
    return Dataset({item.item_id: item for item in _items(folder)}, _histories(folder / INTERACTIONS, signals))


def _items(folder: Path) -> Iterator[DatasetItem]:
    path = _require(folder / ITEMS)
    for number, line in text_files.lines(path):
        try:
            yield _item(json_object(line), folder)
        except ValueError as error:
            raise DatasetError(f"{path}, line {number}: {error}") from None


def _item(fields: dict[str, Any], folder: Path) -> DatasetItem:
    found = item(**{name: fields.get(name) for name in _FIELDS})
    image = found.pop("image", None)
    terms = {name: tuple(found.get(name, ())) for name in ("genres", "tags")}
    return DatasetItem(**found | terms, image=folder / IMAGES / image if image else None)


def _histories(path: Path, signals: Signals) -> dict[str, tuple[Interaction, ...]]:
    path = _require(path)
    histories: dict[str, list[Interaction]] = {}
    try:
        for line, fields in tables.rows(path, dict.fromkeys(InteractionRow._fields, ()), _REQUIRED):
            try:
                row = interaction(**fields)
            except ValueError as error:
                raise DatasetError(f"{path}, line {line}: {error}") from None
            kind = row.type or ("click" if row.rating is None else "rating")
            if not signals.is_exposure(kind):
                value = row.rating if signals.reads_value(kind) else None
                event = Interaction(row.item_id, kind, row.timestamp, value, signals)
                histories.setdefault(row.user_id, []).append(event)
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


def item_line(fields: Mapping[str, Any]) -> str:
    """One line of `items.jsonl`, in ASCII: it contains no control sequences of a terminal."""
    return json.dumps(fields) + "\n"


def write_interactions(folder: Path, rows: Iterable[InteractionRow]) -> int:
    """Write the rows by user and time, keeping the order of simultaneous rows, and return the number of users."""
    histories: dict[str, list[InteractionRow]] = defaultdict(list)
    for row in rows:
        histories[row.user_id].append(row)
    with (folder / INTERACTIONS).open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(InteractionRow._fields)
        for user_id in sorted(histories):
            for row in sorted(histories[user_id], key=attrgetter("timestamp")):
                seconds = f"{row.timestamp:.3f}".rstrip("0").rstrip(".")
                writer.writerow((user_id, row.item_id, seconds, row.rating, row.type))
    return len(histories)
