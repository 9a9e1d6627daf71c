"""Vectors of numbers in the safetensors format, written and read with the standard library alone.

Gateways have neither numpy nor the library of the format. Each tensor is a vector; the metadata are texts.
"""

import json
import sys
from array import array
from collections.abc import Mapping
from typing import Any

Kind = tuple[str, str]
"""Type in the file, and type code of the array."""
U32: Kind = ("U32", "I")
F32: Kind = ("F32", "f")
_PREFIX = 8
"""Bytes that hold the length of the header."""
_WIDTH = 4


def dump_arrays(arrays: Mapping[str, "tuple[Kind, array[Any]]"], metadata: Mapping[str, str]) -> bytes:
    """The content of a file with these vectors, in their order."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    content = b""
    for name, ((kind, _), values) in arrays.items():
        end = len(content) + len(values) * _WIDTH
        header[name] = {"dtype": kind, "shape": [len(values)], "data_offsets": [len(content), end]}
        content += _little_endian(values).tobytes()
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(_PREFIX, "little") + text + content


def parse_arrays(content: bytes, kinds: Mapping[str, Kind]) -> "tuple[dict[str, array[Any]], dict[str, Any]]":
    """The vectors named by `kinds`, and the metadata.

    Raises:
        ValueError, KeyError, TypeError, RecursionError: the content is malformed, or lacks one of them.
    """
    start = _PREFIX + int.from_bytes(content[:_PREFIX], "little")
    if len(content) < _PREFIX or start > len(content):
        raise ValueError("its header is cut off")
    header = json.loads(content[_PREFIX:start])
    data = memoryview(content)[start:]
    return {name: _vector(header[name], name, kind, data) for name, kind in kinds.items()}, header["__metadata__"]


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
