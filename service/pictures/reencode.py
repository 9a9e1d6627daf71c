"""Checks that something is a picture of acceptable size, and encodes it again, so that only its pixels are kept.

Runs in the processes of `decoder_process`, which load Pillow and nothing else of the service.
"""

import io
import struct
from dataclasses import dataclass
from typing import NamedTuple

from PIL import (
    AvifImagePlugin,
    Image,
    ImageColor,
    ImagePalette,
    MpoImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from model_store.colours import contrast, is_blank, small_rgb
from service.errors import BadPicture
from service.pictures.encoded import check_scans, unknown_kind

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "AVIF", "BMP", "TIFF")
_LOADED = (AvifImagePlugin, ImageColor, ImagePalette, MpoImagePlugin, TiffImagePlugin, WebPImagePlugin)
"""What Pillow would load with the first picture that needs it, when this process can open no file any more."""
Image.preinit()
LOSSY = frozenset({"JPEG", "MPO", "AVIF"})
ANIMATED = frozenset({"GIF", "PNG", "WEBP", "AVIF"})
"""Further pages of other formats are not later pictures of the same thing."""
_SHOWS_SOMETHING, _SHOWS_ALL = 64, 192
"""Levels of contrast at which a first frame is taken, and at which no better one is looked for."""
_QUALITY = 92
_BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    ArithmeticError,
    LookupError,
    TypeError,
    RuntimeError,
    struct.error,
)
# A thread for each processor would take its stack from the memory that the picture may use.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What a picture may be. `stored_side` is the longest side, in pixels, of what is made of it."""

    max_bytes: int
    max_side: int
    max_pixels: int
    stored_side: int
    max_scans: int = 100
    max_scanned_pixels: int = 640_000_000
    """All scans of a JPEG together: sixteen over the largest picture."""
    frames: int = 32
    """Frames of an animation that are looked at for one that shows something."""


class ReEncoded(NamedTuple):
    """The picture as it is stored; `warning` begins with a stable word."""

    content: bytes
    warning: str | None = None


def re_encode(encoded: bytes, limits: DecodeLimits) -> ReEncoded:
    """Check `encoded` and encode it again: upright, RGB, longest side `stored_side`, without metadata.

    A JPEG or AVIF becomes a JPEG, all others PNG, so that what was lossless stays so. Of an animation the first frame
    counts, or where that shows nothing (a fade-in), the one of the first `frames` that shows most. What is white or
    black all over is kept with a warning; any other single colour is taken for a swatch.

    Raises:
        BadPicture: too many bytes or pixels, another format, damaged, too costly, or wholly transparent; the detail
            begins with a stable word.
    """
    if len(encoded) > limits.max_bytes:
        raise BadPicture(f"too_many_bytes: more than {limits.max_bytes}")
    with _open(encoded, limits) as opened:
        # The header is read, the pixels are not yet.
        if opened.width * opened.height > limits.max_pixels:
            raise _too_many_pixels(limits)
        if max(opened.size) > limits.max_side:
            raise BadPicture(f"too_long_side: more than {limits.max_side} pixels")
        lossy = opened.format in LOSSY
        if opened.format in ("JPEG", "MPO"):
            check_scans(encoded, opened.width * opened.height, limits.max_scans, limits.max_scanned_pixels)
        try:
            picture = _best_frame(opened, limits)
        except MemoryError:
            raise BadPicture("too_costly: decoding it takes too much memory") from None
        except _BROKEN:
            raise BadPicture("damaged: it can't be decoded") from None
    if picture is None:
        raise BadPicture("blank: every pixel is transparent")
    warning = "blank: white or black all over; the picture is kept" if is_blank(picture) else None
    return ReEncoded(_encode(picture, lossy=lossy), warning)


def _open(encoded: bytes, limits: DecodeLimits) -> Image.Image:
    try:
        return Image.open(io.BytesIO(encoded), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_many_pixels(limits) from None
    except _BROKEN:
        raise unknown_kind(encoded) from None


def _best_frame(opened: Image.Image, limits: DecodeLimits) -> Image.Image | None:
    side = limits.stored_side
    # Lets a JPEG decode at a fraction of its size; twice the target keeps the resize sharp.
    opened.draft("RGB", (2 * side, 2 * side))
    opened.load()
    best = small_rgb(opened, side)
    most = -1 if best is None else contrast(best)
    if opened.format not in ANIMATED or most >= _SHOWS_SOMETHING:
        return best
    affordable = limits.max_pixels // (opened.width * opened.height)
    for number in range(1, min(limits.frames, affordable)):
        try:
            opened.seek(number)
            frame = small_rgb(opened, side)
        except _BROKEN:
            break
        if frame is not None and contrast(frame) > most:
            best, most = frame, contrast(frame)
        if most >= _SHOWS_ALL:
            break
    return best


def _encode(picture: Image.Image, *, lossy: bool) -> bytes:
    out = io.BytesIO()
    # Drawn onto a new image: what the source carried beside its pixels would be written along.
    bare = Image.new("RGB", picture.size)
    bare.paste(picture)
    if lossy:
        bare.save(out, format="JPEG", quality=_QUALITY, subsampling=0)
    else:
        bare.save(out, format="PNG")
    return out.getvalue()


def _too_many_pixels(limits: DecodeLimits) -> BadPicture:
    return BadPicture(f"too_many_pixels: more than {limits.max_pixels}")
