"""Is it a picture, and one of bearable size? Then it is drawn anew, so that nothing but pixels is kept."""

import io

from PIL import Image, ImageOps

from service.errors import BadPicture
from service.settings import PictureSettings

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
_QUALITY = 92


def redraw(encoded: bytes, settings: PictureSettings) -> bytes:
    """Check `encoded` and encode it again: upright, RGB on white, longest side `stored_side`, without metadata.

    A JPEG stays one, all others become PNG, so that what was lossless stays so; of an animation the first frame counts.

    Raises:
        BadPicture: too many bytes or pixels, another format, or damaged; the detail begins with a stable word.
    """
    if len(encoded) > settings.max_bytes:
        raise BadPicture(f"too_many_bytes: more than {settings.max_bytes}")
    try:
        opened = Image.open(io.BytesIO(encoded), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_many_pixels(settings) from None
    except (OSError, ValueError, SyntaxError):
        raise BadPicture(f"format: not one of {', '.join(FORMATS)}") from None
    with opened:
        # The header is read, the pixels are not yet.
        if opened.width * opened.height > settings.max_pixels:
            raise _too_many_pixels(settings)
        lossy = opened.format == "JPEG"
        try:
            return _encode(_upright(opened, settings.stored_side), lossy=lossy)
        except (OSError, ValueError, SyntaxError, EOFError, ZeroDivisionError, OverflowError, MemoryError):
            raise BadPicture("damaged: it can't be decoded") from None


def _upright(opened: Image.Image, side: int) -> Image.Image:
    # Lets a JPEG decode at a fraction of its size; twice the target keeps the resize sharp.
    opened.draft("RGB", (2 * side, 2 * side))
    opened.load()
    picture = ImageOps.exif_transpose(opened)
    if picture.has_transparency_data:
        ground = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(ground, picture.convert("RGBA"))
    picture = picture.convert("RGB")
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return picture


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


def _too_many_pixels(settings: PictureSettings) -> BadPicture:
    return BadPicture(f"too_many_pixels: more than {settings.max_pixels}")
