"""A model of how much recent items speak for a candidate, as a file of a model version.

The file is in the safetensors format. Each tensor is a vector; the metadata `items` has the item ids, as JSON.
Gateways read it with the standard library: they don't have the library of the format.
"""

import json
import sys
from abc import ABC, abstractmethod
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from model_store.errors import UserError

Floats = npt.NDArray[np.float32]
Kind = tuple[str, str]
"""Type in the file, and type code of the array."""
U32: Kind = ("U32", "I")
F32: Kind = ("F32", "f")
MAX_BYTES = 64 * 2**20
"""Of a file, and about what it takes in memory."""
_PREFIX = 8
"""Bytes that hold the length of the header."""
_WIDTH = 4


class ItemModelError(UserError):
    """The file of an item model is malformed or too large; the message names the file and the field."""


@dataclass(frozen=True)
class ItemModel(ABC):
    """Without arguments, the model knows nothing. The fields after `items` are the vectors of the file.

    Attributes:
        title: what the file has, for messages.
        kinds: of the vectors, by name, in the order of the file.
    """

    title: ClassVar[str]
    kinds: ClassVar[Mapping[str, Kind]]
    items: Sequence[str] = ()

    @abstractmethod
    def score(self, recents: Sequence[str], candidates: Sequence[str]) -> list[float]:
        """How much the recents speak for each candidate, of either sign; 0 where nothing is known.

        Args:
            recents: distinct item ids, oldest first.
        """

    @abstractmethod
    def score_all(self, recents: Sequence[str]) -> Floats:
        """The scores of all `items`, in their order; shape (items,)."""

    @abstractmethod
    def _fault(self) -> str | None:
        """What makes the vectors unusable, if anything does. The items are distinct."""

    @cached_property
    def _places(self) -> dict[str, int]:
        return {item: place for place, item in enumerate(self.items)}

    def dump(self) -> bytes:
        """The content of the file.

        Raises:
            ItemModelError: it would be larger than `MAX_BYTES`.
        """
        content = _dump({name: (kind, getattr(self, name)) for name, kind in self.kinds.items()}, self.items)
        if len(content) > MAX_BYTES:
            raise ItemModelError(
                f"{self.title} of {len(content):,} bytes are more than {MAX_BYTES:,}: keep fewer items"
            )
        return content

    @classmethod
    def parse(cls, content: bytes, where: str) -> Self:
        """Read the content of a file; `where` names it in errors.

        Raises:
            ItemModelError: it is too large, or malformed.
        """
        if len(content) > MAX_BYTES:
            raise ItemModelError(f"{where} has {len(content):,} bytes, more than {MAX_BYTES:,}")
        try:
            items, vectors = _parse(content, cls.kinds)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ItemModelError(f"{where} is no file of {cls.title}: {type(error).__name__}: {error}") from None
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise ItemModelError(f"{where}: items must be a list of item ids")
        found = cls(tuple(items), **vectors)
        twice = "items has an item twice" if len(found._places) != len(items) else None
        if fault := twice or found._fault():
            raise ItemModelError(f"{where}: {fault}")
        return found


def _dump(vectors: Mapping[str, "tuple[Kind, array[Any]]"], items: Sequence[str]) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"items": json.dumps(list(items), ensure_ascii=False)}}
    content = b""
    for name, ((kind, _), values) in vectors.items():
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
    vectors = {name: _vector(header[name], name, kind, data) for name, kind in kinds.items()}
    return json.loads(header["__metadata__"]["items"]), vectors


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
