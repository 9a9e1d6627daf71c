"""Checks that bytes are an acceptable picture, and re-encodes it, so that only its pixels are kept.

Runs in the processes of `decoder_process`, which load Pillow and little else of the service.
"""

import io
import struct
from dataclasses import dataclass
from typing import NamedTuple

from PIL import AvifImagePlugin, Image, ImageColor, ImagePalette, MpoImagePlugin, TiffImagePlugin, WebPImagePlugin

from model_store.colours import contrast, is_blank, small_rgb
from service.errors import BadPicture
from service.pictures.encoded import check_scans, unknown_kind

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "AVIF", "BMP", "TIFF")
_LOADED = (AvifImagePlugin, ImageColor, ImagePalette, MpoImagePlugin, TiffImagePlugin, WebPImagePlugin)
"""What Pillow would import with the first picture that needs it, when this process can no longer open files."""
Image.preinit()
LOSSY = frozenset({"JPEG", "MPO", "AVIF"})
ANIMATED = frozenset({"GIF", "PNG", "WEBP", "AVIF"})
"""In other formats, further pages are not later frames of the same picture."""
_ENOUGH_CONTRAST, _FULL_CONTRAST = 64, 192
"""Contrast at which the first frame is taken, and at which the search for a better frame ends."""
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
# One thread per processor would use the memory bound for stacks.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """The bounds of a picture. `stored_side` is the longest side of the stored picture in pixels."""

    max_bytes: int
    max_side: int
    max_pixels: int
    stored_side: int
    max_scans: int = 100
    max_scanned_pixels: int = 640_000_000
    """For all scans of a JPEG together; by default, 16 scans of the largest picture."""
    frames: int = 32
    """Frames of an animation that are searched for one with contrast."""


class ReEncoded(NamedTuple):
    """The picture to store; `warning` begins with a stable word."""

    content: bytes
    warning: str | None = None


def re_encode(encoded: bytes, limits: DecodeLimits) -> ReEncoded:
    """Check and re-encode a picture: upright, RGB, longest side at most `stored_side`, without metadata.

    JPEG and AVIF become JPEG, other formats PNG, so that lossless pictures stay lossless. Of an animation, the first
    frame is used or, if it has little contrast (a fade-in), the frame with most contrast of the first `frames`. A
    picture that is all white or all black is kept with a warning; one of any other single colour may be a swatch.

    Raises:
        BadPicture: too many bytes or pixels, an unsupported format, damaged, too costly, or fully transparent; the
            detail begins with a stable word.
    """
    if len(encoded) > limits.max_bytes:
        raise BadPicture(f"too_many_bytes: more than {limits.max_bytes}")
    with _open(encoded, limits) as opened:
        # Only the header has been read so far.
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
    # Lets Pillow decode a JPEG at a fraction of its size; twice the target size keeps the result sharp.
    opened.draft("RGB", (2 * side, 2 * side))
    opened.load()
    best = small_rgb(opened, side)
    most = -1 if best is None else contrast(best)
    if opened.format not in ANIMATED or most >= _ENOUGH_CONTRAST:
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
        if most >= _FULL_CONTRAST:
            break
    return best


def _encode(picture: Image.Image, *, lossy: bool) -> bytes:
    out = io.BytesIO()
    # Pasted into a new image, because Pillow would also save metadata of the source.
    bare = Image.new("RGB", picture.size)
    bare.paste(picture)
    if lossy:
        bare.save(out, format="JPEG", quality=_QUALITY, subsampling=0)
    else:
        bare.save(out, format="PNG")
    return out.getvalue()


def _too_many_pixels(limits: DecodeLimits) -> BadPicture:
    return BadPicture(f"too_many_pixels: more than {limits.max_pixels}")
