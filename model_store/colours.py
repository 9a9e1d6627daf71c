"""Converts pictures of any colour mode to RGB, and measures whether anything is visible in them."""

from PIL import Image, ImageCms

_ORIENTATION = 0x0112
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_INVISIBLE = 8
"""Levels of 255 that are not visible, of alpha or between two pixels; encoding noise of one colour stays below."""


def small_rgb(opened: Image.Image, side: int) -> Image.Image | None:
    """The current frame upright, at most `side` long, RGB; None if every pixel is transparent.

    Transparent pixels become white, or black if nothing would be visible on white.
    """
    picture = _eight_bits(opened)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return _flat(_upright(picture, opened))


def full_rgb(opened: Image.Image) -> Image.Image:
    """The current frame upright at its full size, RGB; white if every pixel is transparent."""
    picture = _upright(_eight_bits(opened), opened)
    return _flat(picture) or Image.new("RGB", picture.size, "white")


def is_blank(picture: Image.Image) -> bool:
    """Whether an RGB picture is white or black all over."""
    extrema = picture.getextrema()
    return all(low >= 255 - _INVISIBLE for low, _ in extrema) or all(high <= _INVISIBLE for _, high in extrema)  # type: ignore[misc]


def contrast(picture: Image.Image) -> int:
    """Levels between the darkest and the brightest pixel, in the channel with the most."""
    extrema = picture.getextrema()
    return max(int(high) - int(low) for low, high in extrema)  # type: ignore[misc]


def _eight_bits(opened: Image.Image) -> Image.Image:
    """A copy in RGB, or in RGBA if it may have transparent pixels."""
    if opened.mode.startswith("I;16"):
        # `convert` would clip nearly all levels to white.
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
        raise ValueError("LAB can't be converted")
    return converted


def _stretched(picture: Image.Image) -> Image.Image:
    """Numbers without a known range, scaled from the least to the greatest."""
    low, high = picture.getextrema()
    scale = 255 / (high - low) if high > low else 0  # type: ignore[operator]
    return picture.point(lambda level: level * scale - low * scale).convert("L")  # type: ignore[operator]


def _upright(picture: Image.Image, opened: Image.Image) -> Image.Image:
    # `opened` is loaded by now: decoders that rotate the picture themselves have updated its orientation.
    transposition = _TRANSPOSITIONS.get(_orientation(opened))
    return picture if transposition is None else picture.transpose(transposition)


def _orientation(opened: Image.Image) -> int:
    try:
        return int(opened.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - broken metadata is common, and no reason to reject a picture
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
