"""A matrix of vectors with their ids in one file, which is mapped into memory.

A header in JSON with its length and checksum, the matrix, then the ids as a JSON array. A file is replaced as a whole.
"""

import secrets
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from model_store.errors import UserError
from service.whole_files import replacing

_MAGIC = b"TSINDEX1"
_ALIGNED = 64
_START = len(_MAGIC) + 12
"""After the magic: the header's length in 8 bytes, its checksum in 4."""
_MAX_HEADER_BYTES = 1024 * 1024
_TYPES = ("float16", "float32")


class BadFile(UserError):
    """The file is broken, or not what was expected; the message says why."""


def write_rows(path: Path, version: str, matrix: NDArray[Any], ids: Sequence[str], note: Mapping[str, Any]) -> None:
    """Write or replace the file.

    Args:
        matrix: of shape (ids, dimensions), float16 or float32.
        note: anything that JSON can hold.

    Raises:
        OSError: the folder can't be written.
    """
    rows, names = np.ascontiguousarray(matrix), orjson.dumps(list(ids))
    header = {
        "version": version,
        "dtype": str(rows.dtype),
        "shape": rows.shape,
        "crc": zlib.crc32(names, zlib.crc32(rows.data if rows.size else b"")),
        "ids_bytes": len(names),
        "note": dict(note),
    }
    text = orjson.dumps(header)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Containers that share the folder may have the same process id: their files must differ all the same.
    new = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
    with replacing(path, new) as file:
        file.write(_MAGIC + len(text).to_bytes(8, "little") + zlib.crc32(text).to_bytes(4, "little") + text)
        file.write(b"\0" * (-file.tell() % _ALIGNED))
        file.write(rows.data if rows.size else b"")
        file.write(names)


def read_rows(path: Path, version: str) -> tuple[NDArray[Any], list[str], dict[str, Any]]:
    """The matrix, whose changes are not written to the file, the ids and the note.

    Raises:
        BadFile: it is broken, or of another version.
        OSError: there is none, or it can't be read.
    """
    header, start = _header(path)
    if header["version"] != version:
        raise BadFile(f"{path} is of {header['version']}")
    shape, dtype = tuple(header["shape"]), np.dtype(header["dtype"])
    size = int(np.prod(shape)) * dtype.itemsize
    if path.stat().st_size != start + size + header["ids_bytes"]:
        raise BadFile(f"{path} is cut off")
    mapped = np.memmap(path, dtype=np.uint8, mode="c", offset=start, shape=(size + header["ids_bytes"],))
    if zlib.crc32(mapped.data) != header["crc"]:
        raise BadFile(f"{path} has a wrong checksum")
    ids = orjson.loads(mapped[size:].tobytes())
    if len(ids) != shape[0] or len(set(ids)) != len(ids):
        raise BadFile(f"{path} has {len(ids)} ids for {shape[0]} vectors, or one twice")
    return np.asarray(mapped[:size]).view(dtype).reshape(shape), ids, header["note"]


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The header, and where the matrix begins."""
    with path.open("rb") as file:
        start = file.read(_START)
        length = int.from_bytes(start[len(_MAGIC) : len(_MAGIC) + 8], "little")
        if len(start) < _START or not start.startswith(_MAGIC) or length > _MAX_HEADER_BYTES:
            raise BadFile(f"{path} is no file of vectors")
        text = file.read(length)
    if zlib.crc32(text).to_bytes(4, "little") != start[-4:]:
        raise BadFile(f"{path} has a broken header")
    header = orjson.loads(text)
    if header["dtype"] not in _TYPES or len(header["shape"]) != 2:
        raise BadFile(f"{path} has vectors of another kind")
    end = _START + length
    return header, end + -end % _ALIGNED
