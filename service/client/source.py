"""The items of an `items.jsonl`, a table or a product feed, line by line, as `POST /items` takes them.

A line is an item as the service takes it, or as a dataset folder holds it: there `image` names a
file in `images/`, which is sent along, and `caption` is not sent. Nothing is cut to fit: what is
too long is the service's to reject.
"""

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from tempfile import NamedTemporaryFile
from typing import Any, BinaryIO, cast

import orjson

from model_store.data import text_files, values
from model_store.data.dataset import IMAGES, ITEMS
from model_store.data.importers import Rejected as RejectedRow
from model_store.data.importers import find_layout
from model_store.errors import UserError

LINE_BYTES = 16 * 1024 * 1024
BATCH_ITEMS, BATCH_BYTES = 500, 4 * 1024 * 1024
"""A batch ends with the item that reaches one of them."""
URL_BYTES = 64 * 1024
"""What a picture that the service must fetch counts: few enough for one call's time."""
BRACKETS = 200
"""A line of more is looked at closely: what is read deeper than some 250 levels can't be written again."""
_OPTIONAL = ("description", "genres", "tags")
_TERMS = ("genres", "tags")
_REJECTED = "\0rejected"
"""The key that stands for a rejected row in a converted copy; no field of a source has it."""
_OTHER = (".csv", ".tsv", ".xml", ".txt", ".rss", ".atom")


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
    """Items in JSON lines, or in one of the layouts that `model_store.data.importers` knows.

    Args:
        path: a file, or a folder that holds one.
        layout: the name of the layout; by default JSON lines where there is an `items.jsonl`, else the one that fits.

    Attributes:
        note: how the file was read, for people; "" for JSON lines in UTF-8.

    Raises:
        UserError: there is no such file, or it is of no known layout.
    """

    def __init__(self, path: Path, layout: str | None = None) -> None:
        lines = text_files.find(path / ITEMS) if path.is_dir() else path
        is_lines = layout is None and (lines.exists() if path.is_dir() else not _is_other(path))
        given = lines if is_lines else path
        self.path = given.resolve()
        try:
            stat = self.path.stat()
        except OSError as error:
            raise UserError(f"{self.path}: {error.strerror}. Give an {ITEMS} or a folder that holds one.") from None
        if not (S_ISREG(stat.st_mode) or (S_ISDIR(stat.st_mode) and not is_lines)):
            raise UserError(f"{self.path} is no regular file: an import that goes on must be able to read it again")
        self.size = stat.st_size
        self.mtime_ns = stat.st_mtime_ns
        self.images = (given.parent / IMAGES).resolve()
        self._file, self._converted = self.path, not is_lines
        self.note = self._open_lines() if is_lines else self._open_layout(layout)

    def _open_lines(self) -> str:
        encoding = text_files.detect(self.path, tolerant=True)
        if not encoding.plain:
            self._read_copy(lambda copy: text_files.transcode(self.path, encoding, copy))
        return encoding.note

    def _open_layout(self, layout: str | None) -> str:
        name, found = find_layout(self.path, layout)
        self.images = (found.images(self.path) or self.images).resolve()
        self._read_copy(lambda copy: _convert(found.items(self.path), copy))
        return f"{self.path.name}: read as {name}"

    def _read_copy(self, write: Callable[[BinaryIO], None]) -> None:
        """Read a copy in UTF-8, one item a line: an import that goes on seeks in it."""
        self._copy = NamedTemporaryFile(prefix="tastestream-import-")  # noqa: SIM115 - it lives as long as this source
        write(cast("BinaryIO", self._copy))
        self._copy.flush()
        self._file = Path(self._copy.name)
        self.size = self._file.stat().st_size

    def batches(self, line: int = 0, offset: int = 0) -> Iterator[Batch]:
        """The batches behind `line`, which ends at `offset`; read as they are asked for.

        Raises:
            UserError: the file can't be read.
        """
        try:
            with self._file.open("rb") as file:
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
                if self._converted:
                    item = _unpack(item)
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
        for name in _TERMS:
            if isinstance(item.get(name), str):
                item[name] = list(values.terms(item[name]))
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
        raise NoItem(_why_not_json(raw, str(error))) from None
    if not isinstance(item, dict):
        raise NoItem("not a JSON object")
    if raw.count(b"[") + raw.count(b"{") > BRACKETS:
        try:
            orjson.dumps([item])
        except TypeError:
            raise NoItem("nested too deeply to be sent") from None
    return item


def _why_not_json(raw: bytes, message: str) -> str:
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return f"not UTF-8: byte 0x{raw[error.start]:02x} at position {error.start}; mend the line, or convert the file"
    if raw.lstrip().startswith(b"["):
        return "not an object but an array; write one item a line (jq -c '.[]')"
    return f"not JSON: {message}"


def _is_other(path: Path) -> bool:
    """Whether the file is, by its name, something else than JSON lines."""
    return path.name.lower().removesuffix(".gz").endswith(_OTHER)


def _convert(items: Iterator[dict[str, Any] | RejectedRow], copy: BinaryIO) -> None:
    """Write one line for each row: the item, or why there is none with its place in the source."""
    for item in items:
        row = {_REJECTED: [item.line, item.reason]} if isinstance(item, RejectedRow) else item
        copy.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


def _unpack(row: dict[str, Any]) -> dict[str, Any]:
    """
    Raises:
        NoItem: the row was rejected when it was converted.
    """
    if _REJECTED in row:
        line, reason = row[_REJECTED]
        raise NoItem(f"{reason} (line {line} of the file)")
    return row


def _skip_line(file: BinaryIO, begun: bytes) -> bool:
    """Read on to the end of the line; whether it was there already."""
    if begun.endswith(b"\n") and len(begun) == LINE_BYTES + 1:
        return True
    while (more := file.readline(LINE_BYTES)) and not more.endswith(b"\n"):
        pass
    return False
