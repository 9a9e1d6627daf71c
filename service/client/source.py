"""Read the items of an `items.jsonl`, a table or a product feed, line by line, in the form of `POST /items`.

A line may also be an item of a dataset folder: the file in `images/` that its `image` names is sent with it, its
`caption` is not sent. Nothing is cut to fit the service's limits.
"""

import base64
import json
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from tempfile import NamedTemporaryFile
from typing import Any, BinaryIO, cast

import orjson

from model_store.data import text_files, values
from model_store.data.dataset import IMAGES, ITEMS
from model_store.data.importers import find_layout
from model_store.data.rows import Rejected as RejectedRow
from model_store.data.rows import json_object
from model_store.errors import UserError

LINE_BYTES = 16 * 1024 * 1024
BATCH_ITEMS, BATCH_BYTES = 500, 4 * 1024 * 1024
"""A batch ends with the item that reaches one of these."""
URL_BYTES = 64 * 1024
"""Counted for a picture that the service must fetch, to limit how many one request asks for."""
BRACKETS = 200
"""A line with more brackets is checked, since orjson reads deeper nesting than it writes (about 250 levels)."""
_REJECTED = "\0rejected"
"""The key that marks a rejected row in a converted copy. No field of a source has this name."""
_TABLES = (".csv", ".tsv", ".xml", ".txt", ".rss", ".atom")
"""The suffixes of files that are not JSON lines."""
Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line that was not stored or, if `code` is `picture_refused`, stored without its picture."""

    line: int
    item_id: str
    code: str
    detail: str


@dataclass(slots=True)
class Batch:
    """Consecutive lines of a source.

    Attributes:
        line: the number of the last line, which ends at the byte `offset`.
        lines: the line number of each item.
        rejected: the lines that have no item.
    """

    line: int
    offset: int
    items: list[Item] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)

    @property
    def item_ids(self) -> set[str]:
        return {str(item.get("item_id")) for item in self.items}


class NoItem(Exception):
    """A line has no item; the message says why."""


class Source:
    """Items in JSON lines, or in one of the layouts that `model_store.data.importers` knows.

    Args:
        path: a file, or a folder that contains one.
        layout: the name of the layout; by default JSON lines if there is an `items.jsonl`, else the layout that fits.

    Attributes:
        note: how the file is read, for the user; empty for JSON lines in UTF-8.

    Raises:
        UserError: there is no such file, or its layout is unknown.
    """

    def __init__(self, path: Path, layout: str | None = None) -> None:
        lines = text_files.find(path / ITEMS) if path.is_dir() else path
        is_table = path.name.lower().removesuffix(".gz").endswith(_TABLES)
        is_lines = layout is None and (lines.exists() if path.is_dir() else not is_table)
        given = lines if is_lines else path
        self.path = given.resolve()
        try:
            stat = self.path.stat()
        except OSError as error:
            raise UserError(f"{self.path}: {error.strerror}. Pass an {ITEMS} or a folder that has one.") from None
        if not (S_ISREG(stat.st_mode) or (S_ISDIR(stat.st_mode) and not is_lines)):
            raise UserError(f"{self.path} is not a regular file: an import must be able to read it again to resume")
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
        """Read a copy in UTF-8 with one item per line, in which an import that resumes can seek."""
        self._copy = NamedTemporaryFile(prefix="tastestream-import-")  # noqa: SIM115 - kept for the lifetime of this source
        write(cast("BinaryIO", self._copy))
        self._copy.flush()
        self._file = Path(self._copy.name)
        self.size = self._file.stat().st_size

    def batches(
        self, line: int = 0, offset: int = 0, *, wanted: Callable[[Item], bool] = lambda item: True
    ) -> Generator[Batch, None, None]:
        """Yield the batches after `line`, which ends at `offset`, reading as they are consumed.

        Args:
            wanted: whether to send an item. It is called before the item's picture is read, and may change the item.

        Raises:
            UserError: the file can't be read.
        """
        try:
            with self._file.open("rb") as file:
                file.seek(offset)
                yield from self._batches(file, Batch(line, offset), wanted)
        except OSError as error:
            raise UserError(f"{self.path} can't be read: {error}") from error

    def _batches(self, file: BinaryIO, batch: Batch, wanted: Callable[[Item], bool]) -> Iterator[Batch]:
        size = 0
        while raw := file.readline(LINE_BYTES + 1):
            batch.line += 1
            whole = len(raw) <= LINE_BYTES or _skip_line(file, raw)
            batch.offset = file.tell()
            if not raw.strip():
                continue
            item: Item = {}
            try:
                if not whole:
                    raise NoItem(f"longer than {LINE_BYTES} bytes")
                item = _parse(raw)
                if self._converted and _REJECTED in item:
                    line, reason = item[_REJECTED]
                    raise NoItem(f"{reason} (line {line} of the file)")
                _normalize(item)
                if not wanted(item):
                    continue
                self._attach_picture(item)
                batch.items.append(item)
                batch.lines.append(batch.line)
                size += len(raw) + len(str(item.get("image_base64", ""))) + URL_BYTES * ("image_url" in item)
            except NoItem as error:
                batch.rejected.append(Rejected(batch.line, item_id_of(item), "malformed_line", str(error)))
            if len(batch.items) + len(batch.rejected) >= BATCH_ITEMS or size >= BATCH_BYTES:
                yield batch
                batch, size = Batch(batch.line, batch.offset), 0
        yield batch

    def _attach_picture(self, item: Item) -> None:
        if image := item.pop("image", ""):
            if "image_base64" in item:
                raise NoItem("image: give either image or image_base64")
            item["image_base64"] = self._picture(image)

    def _picture(self, name: object) -> str:
        if not isinstance(name, str):
            raise NoItem("image: must be the name of a file")
        try:
            path = (self.images / name).resolve(strict=True)
            if not path.is_relative_to(self.images):
                raise NoItem(f"image: {name} is outside {self.images}")
            if not path.is_file():
                raise NoItem(f"image: {path} is not a file")
            if path.stat().st_size > LINE_BYTES * 3 // 4:
                raise NoItem(f"image: {path} is larger than {LINE_BYTES * 3 // 4} bytes")
            return base64.b64encode(path.read_bytes()).decode()
        except OSError as error:
            raise NoItem(f"image: {self.images / name}: {error.strerror}") from None
        except (ValueError, RuntimeError) as error:
            # A NUL in the name or, up to Python 3.12, a loop of links.
            raise NoItem(f"image: {error}") from None


def item_id_of(item: Item) -> str:
    """The item's id, shortened to be shown; empty if it has none."""
    return str(item.get("item_id", ""))[:256]


def _normalize(item: Item) -> None:
    """Convert the fields of a dataset's item to those that the service accepts."""
    item.pop("caption", None)
    for name in ("description", "genres", "tags"):
        if item.get(name, "") is None:
            del item[name]
    for name in ("genres", "tags"):
        if isinstance(item.get(name), str):
            item[name] = list(values.terms(item[name]))
    for name in ("item_id", "title", "description"):
        if type(item.get(name)) is int:
            item[name] = str(item[name])


def _parse(raw: bytes) -> Item:
    try:
        item = orjson.loads(raw)
    except orjson.JSONDecodeError:
        item = _parse_leniently(raw)
    if not isinstance(item, dict):
        raise NoItem("not a JSON object")
    if raw.count(b"[") + raw.count(b"{") > BRACKETS:
        try:
            orjson.dumps([item])
        except TypeError:
            raise NoItem("nested too deeply to be sent") from None
    return item


def _parse_leniently(raw: bytes) -> Any:
    """Parse a line without its lone surrogates, which JSON can escape and UTF-8 can't encode.

    Raises:
        NoItem: it is not JSON.
    """
    try:
        text = json.dumps(json_object(raw.decode()), ensure_ascii=False, allow_nan=False)
        return orjson.loads(text.encode("utf-8", "ignore"))
    except UnicodeDecodeError as error:
        position = f"byte 0x{raw[error.start]:02x} at position {error.start}"
        raise NoItem(f"not UTF-8: {position}; fix the line or convert the file") from None
    except (ValueError, RecursionError) as error:
        raise NoItem(str(error)) from None


def _convert(items: Iterator[Item | RejectedRow], copy: BinaryIO) -> None:
    """Write one line for each row: the item, or why the row has none and its line in the source."""
    for item in items:
        row = {_REJECTED: [item.line, item.reason]} if isinstance(item, RejectedRow) else item
        copy.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


def _skip_line(file: BinaryIO, start: bytes) -> bool:
    """Skip the rest of a line, and return whether there was none."""
    if start.endswith(b"\n") and len(start) == LINE_BYTES + 1:
        return True
    while (more := file.readline(LINE_BYTES)) and not more.endswith(b"\n"):
        pass
    return False
