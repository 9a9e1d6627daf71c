"""The dataset folder that training, evaluation and replay read: its reader and its writer.

| file                 | holds                                                                         |
| -------------------- | ----------------------------------------------------------------------------- |
| `items.jsonl`        | `item_id`, `title`, optional `description`, `genres`, `tags`, `image`, `caption` |
| `interactions.csv`   | `user_id,item_id,timestamp[,rating][,type]`, sorted by user and time          |
| `images/`            | the pictures that `image` names                                               |
| `descriptions.jsonl` | optional: `item_id`, `summary`; written by `data describe`                    |
| `summaries.jsonl`    | optional: see `data.summaries`; written by `data summarize`                   |

`caption` describes the picture: it is the target of the `describe` job and is never sent to the
service. `summary` is what a model wrote about the item; prompts show it. Ids are strings, even if
the files have numbers. `genres` and `tags` are arrays, or texts whose terms are separated by `|`,
`;` or `,`. All files may have any encoding that `data.text_files` knows, and be compressed
(`items.jsonl.gz`).

An interaction without a type is a `rating` if it has one, else a `click`; `signals` defines what
types and ratings mean. Exposures are left out, since prompts never show them.
"""

import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

from model_store.data import tables, text_files, values
from model_store.data.rows import InteractionRow, interaction, item, json_object
from model_store.data.text_files import DataFileError
from model_store.errors import UserError
from model_store.signals import BUILT_IN, Signals

Split = Literal["train", "validation", "test"]
ITEMS, INTERACTIONS, IMAGES = "items.jsonl", "interactions.csv", "images"
DESCRIPTIONS = "descriptions.jsonl"
_FIELDS = ("item_id", "title", "description", "genres", "tags", "image", "caption")
_REQUIRED = ("user_id", "item_id", "timestamp")
HELD_OUT = 'user_split(user_id) == "test"'
"""The rule, as manifests state it, for users who are not used in training."""


class DatasetError(UserError):
    """A dataset folder is incomplete or malformed; the message names the file and the line."""


@dataclass(frozen=True, slots=True)
class DatasetItem:
    """One item of the catalogue; `image` is the path of its picture, which `caption` describes.

    `summary` is the item summary that a model wrote, if one did.
    """

    item_id: str
    title: str
    description: str = ""
    genres: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    image: Path | None = None
    caption: str = ""
    summary: str = ""


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
    return Dataset(read_items(folder), histories(interaction_rows(folder), signals))


def read_items(folder: Path) -> dict[str, DatasetItem]:
    """The catalogue, with the descriptions beside it; of two items with the same id, the last.

    Raises:
        DatasetError: as `read_dataset`.
    """
    items = {item.item_id: item for item in _items(folder)}
    for item_id, summary in _descriptions(folder):
        if item_id in items:
            items[item_id] = replace(items[item_id], summary=summary)
    return items


def item_rows(folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of `items.jsonl` with all their fields, and their line numbers.

    Raises:
        DatasetError: the file is missing, or a line is not an object.
    """
    return _objects(_require(folder / ITEMS))


def interaction_rows(folder: Path) -> Iterator[InteractionRow]:
    """The rows of `interactions.csv`, in the file's order; one without a type gets that which its rating implies.

    Raises:
        DatasetError: the file is missing, or a row is malformed.
    """
    path = _require(folder / INTERACTIONS)
    try:
        for line, fields in tables.rows(path, dict.fromkeys(InteractionRow._fields, ()), _REQUIRED):
            try:
                row = interaction(**fields)
            except ValueError as error:
                raise DatasetError(f"{path}, line {line}: {error}") from None
            yield row._replace(type=row.type or ("click" if row.rating is None else "rating"))
    except DataFileError as error:
        raise DatasetError(str(error)) from None


def histories(rows: Iterable[InteractionRow], signals: Signals) -> dict[str, tuple[Interaction, ...]]:
    """The rows of each user without exposures, oldest first; simultaneous ones keep their order."""
    found: dict[str, list[Interaction]] = {}
    for row in rows:
        if not signals.is_exposure(row.type):
            value = row.rating if signals.reads_value(row.type) else None
            event = Interaction(row.item_id, row.type, row.timestamp, value, signals)
            found.setdefault(row.user_id, []).append(event)
    return {user: tuple(sorted(events, key=attrgetter("timestamp"))) for user, events in found.items()}


def _items(folder: Path) -> Iterator[DatasetItem]:
    path = text_files.find(folder / ITEMS)
    for number, fields in item_rows(folder):
        try:
            yield _item(fields, folder)
        except ValueError as error:
            raise DatasetError(f"{path}, line {number}: {error}") from None


def _item(fields: dict[str, Any], folder: Path) -> DatasetItem:
    found = item(**{name: fields.get(name) for name in _FIELDS})
    image = found.pop("image", None)
    terms = {name: tuple(found.get(name, ())) for name in ("genres", "tags")}
    return DatasetItem(**found | terms, image=folder / IMAGES / image if image else None)


def _descriptions(folder: Path) -> Iterator[tuple[str, str]]:
    path = text_files.find(folder / DESCRIPTIONS)
    if path.is_file():
        for number, fields in _objects(path):
            try:
                yield values.identity(fields.get("item_id")), values.text(fields.get("summary"))
            except ValueError as error:
                raise DatasetError(f"{path}, line {number}: item_id or summary {error}") from None


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        for number, line in text_files.lines(path):
            try:
                yield number, json_object(line)
            except ValueError as error:
                raise DatasetError(f"{path}, line {number}: {error}") from None
    except DataFileError as error:
        raise DatasetError(str(error)) from None


def _require(path: Path) -> Path:
    """`path`, or the same with `.gz`."""
    found = text_files.find(path)
    if not found.is_file():
        raise DatasetError(
            f"{path} is missing: a dataset folder has {ITEMS}, {INTERACTIONS} and, for pictures, {IMAGES}/"
        )
    return found


def is_file(path: Path) -> bool:
    """Whether there is such a file. There is none whose name is too long for the file system, or holds a NUL."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def picture_file(images: Path, name: str) -> Path | None:
    """The picture of that name in the folder; None if there is none, or if it is in another folder."""
    try:
        path = (images / name).resolve()
        inside = path.is_relative_to(images.resolve())
    except (OSError, ValueError, RuntimeError):
        # A NUL in the name or, up to Python 3.12, a loop of links.
        return None
    return path if inside and is_file(path) else None


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
