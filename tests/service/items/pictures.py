"""Pictures for the tests, good and bad."""

import io
import struct
import zlib
from base64 import b64encode
from typing import Any

from PIL import Image


def picture(
    kind: str = "PNG", size: tuple[int, int] = (6, 4), colour: Any = (200, 30, 40), mode: str = "RGB", **how: Any
) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, colour).save(out, format=kind, **how)
    return out.getvalue()


def encoded(picture: bytes) -> str:
    """In base64, as items carry it."""
    return b64encode(picture).decode()


def opened(picture: bytes) -> Image.Image:
    return Image.open(io.BytesIO(picture))


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises many pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
