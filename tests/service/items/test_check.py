"""Promises of the picture check."""

import io

import pytest
from PIL import Image

from service.errors import BadPicture
from service.items.check import DecodeLimits, redraw
from tests.service.items.pictures import opened, picture, png_that_claims, saved

LIMITS = DecodeLimits(max_bytes=100_000, max_side=5_000, max_pixels=1_000_000, stored_side=64)
ORIENTATION = 0x0112


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        ("PNG", "PNG"),
        ("GIF", "PNG"),
        ("WEBP", "PNG"),
        ("BMP", "PNG"),
        ("TIFF", "PNG"),
        ("JPEG", "JPEG"),
        ("AVIF", "JPEG"),
    ],
)
def test_what_pillow_reads_safely_is_taken(kind: str, stored: str) -> None:
    drawn = opened(redraw(picture(kind, (30, 20)), LIMITS).content)
    assert (drawn.format, drawn.size, drawn.mode) == (stored, (30, 20), "RGB")


def test_a_lossless_picture_keeps_its_pixels() -> None:
    drawn = opened(redraw(picture(colour=(1, 2, 3)), LIMITS).content)
    assert drawn.getpixel((2, 2)) == (1, 2, 3)


def test_the_longest_side_is_bounded() -> None:
    assert opened(redraw(picture("PNG", (640, 160)), LIMITS).content).size == (64, 16)
    assert opened(redraw(picture("JPEG", (160, 640)), LIMITS).content).size == (16, 64)


def test_what_is_transparent_becomes_white() -> None:
    half = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    half.paste((10, 20, 30, 255), (0, 0, 4, 8))
    drawn = opened(redraw(saved(half), LIMITS).content)
    assert (drawn.getpixel((0, 0)), drawn.getpixel((7, 0))) == ((10, 20, 30), (255, 255, 255))


def test_a_palette_s_transparent_colour_becomes_white() -> None:
    half = Image.new("P", (8, 8), 0)
    half.putpalette([0, 0, 0, 200, 30, 40])
    half.paste(1, (0, 0, 4, 8))
    drawn = opened(redraw(saved(half, "GIF", transparency=0), LIMITS).content)
    assert (drawn.getpixel((0, 0)), drawn.getpixel((7, 0))) == ((200, 30, 40), (255, 255, 255))


def test_a_picture_is_turned_upright_and_its_metadata_dropped() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[0x010E] = "taken at home"
    drawn = opened(redraw(picture("JPEG", (40, 20), exif=exif, comment=b"secret"), LIMITS).content)
    assert drawn.size == (20, 40)
    assert not drawn.getexif()
    assert "comment" not in drawn.info


def test_of_an_animation_the_first_frame_counts() -> None:
    out = io.BytesIO()
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    first.save(out, format="GIF", save_all=True, append_images=[second])
    assert opened(redraw(out.getvalue(), LIMITS).content).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (b"", "format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "format"),
        (b"<html>no picture</html>", "format"),
        (picture("PNG", (300, 300))[:-40], "damaged"),
        (picture("JPEG", (300, 300))[:-40], "damaged"),
        (picture("PNG") + b"x" * 100_000, "too_many_bytes"),
        (picture("PNG", (1001, 1000)), "too_many_pixels"),
        (png_that_claims(9_400, 9_600), "too_many_pixels"),
        (png_that_claims(60_000, 60_000), "too_many_pixels"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_acceptable_is_refused_with_its_reason(encoded: bytes, reason: str) -> None:
    with pytest.raises(BadPicture) as caught:
        redraw(encoded, LIMITS)
    assert caught.value.detail.partition(":")[0] == reason


def test_too_many_pixels_are_refused_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(Image.Image, "load", decode)
    with pytest.raises(BadPicture, match="too_many_pixels"):
        redraw(png_that_claims(5_000, 5_000), LIMITS)
