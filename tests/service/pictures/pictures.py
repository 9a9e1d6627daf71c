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
    return saved(Image.new(mode, size, colour), kind, **how)


def saved(image: Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format=kind, **how)
    return out.getvalue()


def encoded(picture: bytes) -> str:
    """In base64, as items carry it."""
    return b64encode(picture).decode()


def opened(picture: bytes) -> Image.Image:
    return Image.open(io.BytesIO(picture))


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims many pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def progressive(scans: int, size: tuple[int, int] = (64, 64)) -> bytes:
    """A progressive JPEG that repeats its last scan; each scan has few bytes and takes much time."""
    whole = saved(Image.linear_gradient("L").resize(size), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * (scans - whole.count(b"\xff\xda") + 1) + whole[-2:]
