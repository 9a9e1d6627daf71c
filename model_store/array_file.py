"""Numbers of items in the safetensors format, written and read with the standard library alone.

Gateways have neither numpy nor the library of the format. Each tensor is a vector; the metadata `items` has the item
ids, as JSON.
"""

import json
import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_store.errors import UserError

Kind = tuple[str, str]
"""Type in the file, and type code of the array."""
U32: Kind = ("U32", "I")
F32: Kind = ("F32", "f")
_PREFIX = 8
"""Bytes that hold the length of the header."""
_WIDTH = 4


@dataclass(frozen=True, slots=True)
class ItemArrays:
    """A kind of file.

    Attributes:
        what: its content, for messages.
        kinds: of its tensors, by name, in the order of the file.
        most: bytes of a file, at most.
        error: raised for a file that is malformed or too large, with a message that names it and the field.
    """

    what: str
    kinds: Mapping[str, Kind]
    most: int
    error: type[UserError]

    def dump(self, items: Sequence[str], arrays: Mapping[str, "array[Any]"]) -> bytes:
        """The content of a file with these vectors.

        Raises:
            UserError: `error`, if it would be too large.
        """
        content = _dump({name: (kind, arrays[name]) for name, kind in self.kinds.items()}, items)
        if len(content) > self.most:
            raise self.error(f"{self.what} of {len(content):,} bytes are more than {self.most:,}: keep fewer items")
        return content

    def parse(self, content: bytes, where: str) -> "tuple[tuple[str, ...], dict[str, array[Any]]]":
        """The item ids and the vectors; `where` names the file in errors.

        Raises:
            UserError: `error`, if the file is too large, or malformed.
        """
        if len(content) > self.most:
            raise self.error(f"{where} has {len(content):,} bytes, more than {self.most:,}")
        try:
            items, arrays = _parse(content, self.kinds)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self.error(f"{where} is no file of {self.what}: {type(error).__name__}: {error}") from None
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise self.error(f"{where}: items must be a list of item ids")
        return tuple(items), arrays


def _dump(arrays: Mapping[str, "tuple[Kind, array[Any]]"], items: Sequence[str]) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"items": json.dumps(list(items), ensure_ascii=False)}}
    content = b""
    for name, ((kind, _), values) in arrays.items():
        end = len(content) + len(values) * _WIDTH
        header[name] = {"dtype": kind, "shape": [len(values)], "data_offsets": [len(content), end]}
        content += _little_endian(values).tobytes()
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(_PREFIX, "little") + text + content


def _parse(content: bytes, kinds: Mapping[str, Kind]) -> "tuple[Any, dict[str, array[Any]]]":
    """The content of `items`, and the vectors.

    Raises:
        ValueError, KeyError, TypeError, RecursionError: the content is malformed, or lacks one of them.
    """
    start = _PREFIX + int.from_bytes(content[:_PREFIX], "little")
    if len(content) < _PREFIX or start > len(content):
        raise ValueError("its header is cut off")
    header = json.loads(content[_PREFIX:start])
    data = memoryview(content)[start:]
    arrays = {name: _vector(header[name], name, kind, data) for name, kind in kinds.items()}
    return json.loads(header["__metadata__"]["items"]), arrays


def _vector(entry: dict[str, Any], name: str, kind: Kind, data: memoryview) -> "array[Any]":
    (length,), (start, end) = entry["shape"], entry["data_offsets"]
    if entry["dtype"] != kind[0] or not 0 <= start <= end <= len(data) or end - start != length * _WIDTH:
        raise ValueError(f"{name} must be a vector of {kind[0]}")
    values = array(kind[1])
    values.frombytes(data[start:end])
    return _little_endian(values)


def _little_endian(values: "array[Any]") -> "array[Any]":
    """Its own inverse."""
    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    return values
