"""The items of an `items.jsonl`, line by line, as `POST /items` takes them.

A line is an item as the service takes it, or as a dataset folder holds it: there `image` names a
file in `images/`, which is sent along, and `caption` is not sent. Nothing is cut to fit: what is
too long is the service's to reject.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG
from typing import Any, BinaryIO

import orjson

from model_store.dataset import IMAGES, ITEMS
from model_store.errors import UserError

LINE_BYTES = 16 * 1024 * 1024
BATCH_ITEMS, BATCH_BYTES = 500, 4 * 1024 * 1024
"""A batch ends with the item that reaches one of them."""
URL_BYTES = 64 * 1024
"""What a picture that the service must fetch counts: few enough for one call's time."""
BRACKETS = 200
"""A line of more is looked at closely: what is read deeper than some 250 levels can't be written again."""
_OPTIONAL = ("description", "genres", "tags")


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line that was not stored, or (`code` is `picture_refused`) stored without its picture."""

    line: int
    item_id: str
    code: str
    detail: str


@dataclass(slots=True)
class Batch:
    """Some consecutive lines: the items among them with their line numbers, and the lines that hold none.

    `line` is the number of the last line, `offset` the place behind it, in bytes.
    """

    line: int
    offset: int
    items: list[dict[str, Any]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)

    @property
    def item_ids(self) -> set[str]:
        return {str(item.get("item_id")) for item in self.items}


class NoItem(Exception):
    """A line holds no item; the message says why."""


class Source:
    """Args: `path` is an `items.jsonl` or a dataset folder.

    Raises:
        UserError: there is no such file.
    """

    def __init__(self, path: Path) -> None:
        given = path / ITEMS if path.is_dir() else path
        self.path = given.resolve()
        self.images = (given.parent / IMAGES).resolve()
        try:
            stat = self.path.stat()
        except OSError as error:
            raise UserError(f"{self.path}: {error.strerror}. Give an {ITEMS} or a folder that holds one.") from None
        if not S_ISREG(stat.st_mode):
            raise UserError(f"{self.path} is no regular file: an import that goes on must be able to read it again")
        self.size = stat.st_size
        self.mtime_ns = stat.st_mtime_ns

    def batches(self, line: int = 0, offset: int = 0) -> Iterator[Batch]:
        """The batches behind `line`, which ends at `offset`; read as they are asked for.

        Raises:
            UserError: the file can't be read.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                yield from self._batches(file, Batch(line, offset))
        except OSError as error:
            raise UserError(f"{self.path} can't be read: {error}") from error

    def _batches(self, file: BinaryIO, batch: Batch) -> Iterator[Batch]:
        size = 0
        while raw := file.readline(LINE_BYTES + 1):
            batch.line += 1
            whole = len(raw) <= LINE_BYTES or _skip_line(file, raw)
            batch.offset = file.tell()
            if not raw.strip():
                continue
            item: dict[str, Any] = {}
            try:
                if not whole:
                    raise NoItem(f"longer than {LINE_BYTES} bytes")
                item = _parse(raw)
                self._prepare(item)
                batch.items.append(item)
                batch.lines.append(batch.line)
                size += len(raw) + len(str(item.get("image_base64", ""))) + URL_BYTES * ("image_url" in item)
            except NoItem as error:
                batch.rejected.append(Rejected(batch.line, item_id_of(item), "malformed_line", str(error)))
            if len(batch.items) + len(batch.rejected) >= BATCH_ITEMS or size >= BATCH_BYTES:
                yield batch
                batch, size = Batch(batch.line, batch.offset), 0
        yield batch

    def _prepare(self, item: dict[str, Any]) -> None:
        """Make of a dataset's item one that the service takes."""
        item.pop("caption", None)
        for name in _OPTIONAL:
            if item.get(name, "") is None:
                del item[name]
        if type(item.get("item_id")) is int:
            item["item_id"] = str(item["item_id"])
        if image := item.pop("image", ""):
            if "image_base64" in item:
                raise NoItem("image: give it or image_base64, not both")
            item["image_base64"] = self._picture(image)

    def _picture(self, name: object) -> str:
        if not isinstance(name, str):
            raise NoItem("image: must be the name of a file")
        try:
            path = (self.images / name).resolve(strict=True)
            if not path.is_relative_to(self.images):
                raise NoItem(f"image: {name} lies outside {self.images}")
            if not path.is_file():
                raise NoItem(f"image: {path} is no file")
            if path.stat().st_size > LINE_BYTES * 3 // 4:
                raise NoItem(f"image: {path} is larger than {LINE_BYTES * 3 // 4} bytes")
            return base64.b64encode(path.read_bytes()).decode()
        except OSError as error:
            raise NoItem(f"image: {self.images / name}: {error.strerror}") from None
        except (ValueError, RuntimeError) as error:
            # A NUL in the name; links that lead to each other, up to Python 3.12.
            raise NoItem(f"image: {error}") from None


def item_id_of(item: dict[str, Any]) -> str:
    """The item's id as far as it has one, fit to be shown."""
    return str(item.get("item_id", ""))[:256]


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        item = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise NoItem(f"not JSON: {error}") from None
    if not isinstance(item, dict):
        raise NoItem("not a JSON object")
    if raw.count(b"[") + raw.count(b"{") > BRACKETS:
        try:
            orjson.dumps([item])
        except TypeError:
            raise NoItem("nested too deeply to be sent") from None
    return item


def _skip_line(file: BinaryIO, begun: bytes) -> bool:
    """Read on to the end of the line; whether it was there already."""
    if begun.endswith(b"\n") and len(begun) == LINE_BYTES + 1:
        return True
    while (more := file.readline(LINE_BYTES)) and not more.endswith(b"\n"):
        pass
    return False
