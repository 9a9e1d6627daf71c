"""Any colour mode into RGB, small before it is costly, and whether anything can be seen afterwards."""

from PIL import Image, ImageCms

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_INVISIBLE = 8
"""Levels of 255 that nobody sees, of alpha or between two pixels; what encoders make of one colour stays below."""


def small_rgb(opened: Image.Image, side: int) -> Image.Image | None:
    """The current frame upright, at most `side` long, RGB; None where every pixel is transparent.

    What is transparent becomes white, or black where everything that can be seen would vanish on white.
    """
    picture = _eight_bits(opened)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return _flat(_upright(picture, opened))


def full_rgb(opened: Image.Image) -> Image.Image:
    """The current frame upright at its full size, RGB; white where every pixel is transparent."""
    picture = _upright(_eight_bits(opened), opened)
    return _flat(picture) or Image.new("RGB", picture.size, "white")


def is_blank(picture: Image.Image) -> bool:
    """Whether an RGB picture is white or black all over."""
    extrema = picture.getextrema()
    return all(low >= 255 - _INVISIBLE for low, _ in extrema) or all(high <= _INVISIBLE for _, high in extrema)  # type: ignore[misc]


def contrast(picture: Image.Image) -> int:
    """Levels between the darkest and the brightest pixel, of the channel where there are most."""
    extrema = picture.getextrema()
    return max(int(high) - int(low) for low, high in extrema)  # type: ignore[misc]


def _eight_bits(opened: Image.Image) -> Image.Image:
    """A copy in RGB, or RGBA where something may be transparent."""
    if opened.mode.startswith("I;16"):
        # `convert` would clip: nearly all of it would be white.
        return opened.point(lambda level: level * (1 / 257)).convert("L").convert("RGB")
    if opened.mode in ("I", "F"):
        return _stretched(opened).convert("RGB")
    if opened.mode == "LAB":
        return _lab_to_rgb(opened)
    return opened.convert("RGBA" if opened.has_transparency_data else "RGB")


def _lab_to_rgb(picture: Image.Image) -> Image.Image:
    lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(picture, lab, rgb, outputMode="RGB")
    if converted is None:
        raise ValueError("LAB is not converted")
    return converted


def _stretched(picture: Image.Image) -> Image.Image:
    """Numbers without a known range, from the least to the greatest."""
    low, high = picture.getextrema()
    scale = 255 / (high - low) if high > low else 0  # type: ignore[operator]
    return picture.point(lambda level: level * scale - low * scale).convert("L")  # type: ignore[operator]


def _upright(picture: Image.Image, opened: Image.Image) -> Image.Image:
    # `opened` is loaded by now: some decoders turn the picture themselves and then say so.
    turn = _TURNS.get(_orientation(opened))
    return picture if turn is None else picture.transpose(turn)


def _orientation(opened: Image.Image) -> int:
    try:
        return int(opened.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - broken metadata is common, and no reason to lose a picture
        return 1


def _flat(picture: Image.Image) -> Image.Image | None:
    if picture.mode != "RGBA":
        return picture
    lowest, highest = picture.getchannel("A").getextrema()
    if highest <= _INVISIBLE:  # type: ignore[operator]
        return None
    flat = _on("white", picture)
    if contrast(flat) <= _INVISIBLE < highest - lowest:  # type: ignore[operator]
        return _on("black", picture)
    return flat


def _on(colour: str, picture: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", picture.size, colour), picture).convert("RGB")
