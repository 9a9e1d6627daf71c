"""The soft tokens that stand for a picture in the prompt of a text LLM, read without torch.

They are stored and sent as the bytes that `torch.save` writes for one tensor of `count` x `width` numbers: a zip
archive of a pickle, which names type and shape, and of the numbers. All of it is checked before a server gets them.

Where a picture also has a feature, a second tensor of 1 x `width` numbers follows: the file is the length of the first
one in four bytes, the first one, the second one.
"""

import pickle
import pickletools
import struct
import zipfile
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable
from io import BytesIO
from math import isfinite
from typing import Any, NamedTuple

from model_store.byte_cache import ByteCache
from model_store.registry.manifest import PictureTokens

CACHED_BYTES = 64 * 1024 * 1024
_FORMATS = {("torch", "FloatStorage"): "f", ("torch", "HalfStorage"): "e"}
"""By the name of the storage in the pickle: how `struct` reads its numbers."""
_PICKLE_BYTES = 1024
_REFUSED_OPCODES = frozenset({"BUILD", "PUT", "LONG_BINPUT"})
"""BUILD could set attributes of `_Tensor`; the others allocate as much memory as the index they name asks for."""
_ARCHIVE_BYTES = 4096
"""What an archive takes in addition to its numbers, at most: names, the pickle, alignment."""
_LENGTH = struct.Struct("<I")
_BROKEN = (zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError, EOFError, struct.error)


class BadSoftTokens(ValueError):
    """These bytes are not soft tokens of the expected shape; the message says why."""


class _Tensor(NamedTuple):
    """The arguments of `torch._utils._rebuild_tensor_v2`."""

    storage: tuple[Any, ...]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    requires_grad: bool
    hooks: object


class _Header(pickle.Unpickler):
    """Reads the description of a tensor. It can create nothing else, whatever the pickle says."""

    def __init__(self, content: bytes) -> None:
        """
        Raises:
            BadSoftTokens: it has an instruction that no description of a tensor needs.
        """
        for opcode, _, _ in pickletools.genops(content):
            if opcode.name in _REFUSED_OPCODES:
                raise BadSoftTokens(f"their pickle has the instruction {opcode.name}, not only one tensor")
        super().__init__(BytesIO(content))

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) in _FORMATS:
            # Only compared, never called.
            return _FORMATS[module, name]  # type: ignore[return-value]
        raise BadSoftTokens(f"they hold {module}.{name}, not one tensor of 16 or 32 bit floats")

    def persistent_load(self, pid: Any) -> Any:
        return pid


def join_feature(tokens: bytes, feature: bytes) -> bytes:
    """One file of the tensors of a picture's tokens and of its feature, both as `torch.save` writes them."""
    return _LENGTH.pack(len(tokens)) + tokens + feature


def split_feature(blob: bytes, shape: PictureTokens) -> tuple[bytes, tuple[float, ...]]:
    """The tensor of the tokens, as a server gets it, and the numbers of the feature; () if the shape has none.

    Raises:
        BadSoftTokens: a tensor is not of the expected shape.
    """
    if not shape.feature:
        _numbers(blob, shape.count, shape.width)
        return blob, ()
    if len(blob) < _LENGTH.size:
        raise BadSoftTokens(f"{len(blob)} bytes are no tensor with a feature")
    end = _LENGTH.size + _LENGTH.unpack_from(blob)[0]
    tokens = blob[_LENGTH.size : end]
    _numbers(tokens, shape.count, shape.width)
    return tokens, _numbers(blob[end:], 1, shape.width)


def check_soft_tokens(blob: bytes, shape: PictureTokens) -> None:
    """Check that `blob` is one tensor of finite numbers, float16 or float32, of the expected shape, and its feature.

    Raises:
        BadSoftTokens: it is not.
    """
    split_feature(blob, shape)


def _numbers(blob: bytes, count: int, width: int) -> tuple[float, ...]:
    """The numbers of a tensor, row by row.

    Raises:
        BadSoftTokens: it is not of this shape, or a number is not finite.
    """
    numbers = count * width
    if len(blob) > 4 * numbers + _ARCHIVE_BYTES:
        raise BadSoftTokens(f"{len(blob)} bytes are more than {count} x {width} numbers take")
    try:
        with zipfile.ZipFile(BytesIO(blob)) as archive:
            tensor, content = _read(archive)
        kind = tensor.storage[1]
        if tensor.shape != (count, width):
            raise BadSoftTokens(f"they are {tensor.shape}, and the model reads {count} x {width}")
        if (tensor.offset, tensor.strides) != (0, (width, 1)):
            raise BadSoftTokens("they are a view of a tensor; save a contiguous copy")
        values: tuple[float, ...] = struct.unpack(f"<{numbers}{kind}", content)
    except (*_BROKEN, pickle.UnpicklingError, AttributeError, IndexError, TypeError, ValueError) as error:
        if isinstance(error, BadSoftTokens):
            raise
        raise BadSoftTokens(f"they are not what torch.save writes for a tensor: {error!r:.200}") from None
    if not all(map(isfinite, values)):
        raise BadSoftTokens("a number is not finite")
    return values


def _read(archive: zipfile.ZipFile) -> tuple[_Tensor, bytes]:
    """The description of the tensor, and its numbers."""
    files = {file.filename.partition("/")[2]: file for file in archive.infolist()}
    if any(file.compress_type != zipfile.ZIP_STORED for file in files.values()):
        raise BadSoftTokens("the archive is compressed")
    if files["data.pkl"].file_size > _PICKLE_BYTES:
        raise BadSoftTokens("they are more than one tensor")
    if "byteorder" in files and archive.read(files["byteorder"]) != b"little":
        raise BadSoftTokens("their bytes are not in the order of this machine")
    tensor = _Header(archive.read(files["data.pkl"])).load()
    if not isinstance(tensor, _Tensor):
        raise BadSoftTokens("they are not a tensor")
    return tensor, archive.read(files[f"data/{tensor.storage[2]}"])


class SoftTokenTexts:
    """Soft tokens in base64, as requests carry them, of which the last used `cached_bytes` are cached."""

    def __init__(self, shape: PictureTokens, cached_bytes: int = CACHED_BYTES) -> None:
        self.shape = shape
        self._cache: ByteCache[tuple[int, int], str] = ByteCache(cached_bytes)

    def text(self, blob: bytes) -> str:
        """
        Raises:
            BadSoftTokens: they are not of the model's shape.
        """
        # Python caches the hash of bytes: those of cached tokens are read only once.
        content = len(blob), hash(blob)
        text = self._cache.get(content)
        if text is None:
            check_soft_tokens(blob, self.shape)
            text = b64encode(blob).decode()
            self._cache.add(content, text)
        return text
