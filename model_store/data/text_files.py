"""Text files, plain or gzip, in UTF-8 with or without a byte order mark, UTF-16, UTF-32 or Windows-1252."""

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from model_store.errors import UserError

_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"
_CHUNK = 1 << 20
_SAMPLE = 4096
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    # UTF-32 first: its little-endian mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BROKEN = re.compile("[\udc80-\udcff]")
"""Code points that replace bytes which are not UTF-8."""
_NAMES = {"cp1252": "Windows-1252 (Latin-1)", "utf-16": "UTF-16", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16"}
_CODECS = {"charmap": "UTF-8, or Windows-1252 (Latin-1),"}
"""What codecs that call themselves otherwise are."""


class DataFileError(UserError):
    """A file can't be read; the message names it, the line, and the remedy."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a file is stored. `note` tells users about it, and is empty for UTF-8."""

    name: str
    gzipped: bool
    note: str

    @property
    def plain(self) -> bool:
        """Whether the file is plain UTF-8 text without a byte order mark."""
        return self.name == "utf-8" and not self.gzipped


def find(path: Path) -> Path:
    """`path`, or if that does not exist, `path` with `.gz`."""
    zipped = path.with_name(f"{path.name}.gz")
    return zipped if not path.exists() and zipped.exists() else path


def detect(path: Path, *, tolerant: bool = False) -> Encoding:
    """How the file at `path` is stored; reads the whole file.

    A file that is not UTF-8 is assumed to be Windows-1252, unless half of its characters outside ASCII are UTF-8: then
    a line is damaged, and guessing would garble all others.

    Args:
        tolerant: accept a file with a damaged line as UTF-8, for a reader that rejects lines one by one.

    Raises:
        DataFileError: the file can't be read, is an archive or broken, or has a damaged line.
    """
    with _reading(path):
        with path.open("rb") as file:
            start = file.read(4)
        if start.startswith(_ZIP):
            raise DataFileError(f"{path} is a ZIP archive: unpack it and name the file inside")
        gzipped = start.startswith(_GZIP)
        with open_bytes(path, Encoding("", gzipped, "")) as stream:
            sample = stream.read(_SAMPLE)
            marked = next((name for mark, name in _MARKS if sample.startswith(mark)), None)
            name = marked or _utf16(sample) or _utf8_or_windows(path, sample, stream, tolerant)
    return Encoding(name, gzipped, f"{path.name}: read as {_NAMES[name]}" if name in _NAMES else "")


@contextmanager
def open_text(path: Path, encoding: Encoding | None = None) -> Iterator[TextIO]:
    """The file's text, decoded; line ends are kept, as `csv` requires.

    Raises:
        DataFileError: it can't be read or decoded.
    """
    encoding = encoding or detect(path)
    with open_bytes(path, encoding) as stream, io.TextIOWrapper(stream, encoding.name, newline="") as text:
        yield text


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers from 1 on; raises as `open_text`."""
    with open_text(path) as text:
        for number, line in enumerate(text, 1):
            if line.strip():
                yield number, line


def transcode(path: Path, encoding: Encoding, into: BinaryIO) -> None:
    """Write the file's text as UTF-8 into `into`; raises as `open_text`."""
    with open_text(path, encoding) as text:
        while piece := text.read(_CHUNK):
            into.write(piece.encode("utf-8", "surrogatepass"))


@contextmanager
def open_bytes(path: Path, encoding: Encoding) -> Iterator[BinaryIO]:
    """The file's bytes, decompressed.

    Raises:
        DataFileError: it can't be read.
    """
    with _reading(path):
        if encoding.gzipped:
            with gzip.open(path, "rb") as zipped:
                yield cast("BinaryIO", zipped)
        else:
            with path.open("rb") as file:
                yield file


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataFileError(f"{path}: the gzip file is cut short or damaged ({error}); download it again") from None
    except UnicodeDecodeError as error:
        name = _CODECS.get(error.encoding, error.encoding.upper())
        raise DataFileError(f"{path} is not {name} throughout: convert it to UTF-8, or is it no text?") from None
    except OSError as error:
        raise DataFileError(f"{path} can't be read: {error.strerror or error}") from None


def _utf16(sample: bytes) -> str | None:
    """UTF-16 without a byte order mark: in mostly Latin text every other byte is zero."""
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    most = len(sample) // 4
    if max(even, odd) <= most or min(even, odd) > most // 4:
        return None
    return "utf-16-be" if even > odd else "utf-16-le"


def _utf8_or_windows(path: Path, piece: bytes, stream: BinaryIO, tolerant: bool) -> str:
    """
    Raises:
        DataFileError: the file is UTF-8 except for a few lines.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    line, damaged_line, damaged, encoded = 1, 0, 0, 0
    while piece:
        more = stream.read(_CHUNK)
        text = decoder.decode(piece, final=not more)
        if not text.isascii():
            broken = _BROKEN.findall(text)
            if broken and not damaged:
                damaged_line = line + text.count("\n", 0, text.index(broken[0]))
            damaged += len(broken)
            encoded += len(text) - len(text.encode("ascii", "ignore")) - len(broken)
        line += text.count("\n")
        piece = more
    if not damaged or (tolerant and encoded >= damaged):
        return "utf-8"
    if encoded >= damaged:
        raise DataFileError(
            f"{path}, line {damaged_line}: not UTF-8, as other lines are; fix the line, or convert the file to UTF-8"
        )
    return "cp1252"
