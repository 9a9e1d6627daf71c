"""Re-encoding: what is accepted, what is stored, and what is refused."""

from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from PIL import Image

from model_store.colours import contrast
from service.errors import BadPicture
from service.pictures.reencode import DecodeLimits, re_encode
from tests.service.pictures.pictures import opened, picture, png_that_claims, progressive, saved

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
def test_supported_formats_are_re_encoded(kind: str, stored: str) -> None:
    drawn = opened(re_encode(picture(kind, (30, 20)), LIMITS).content)
    assert (drawn.format, drawn.size, drawn.mode) == (stored, (30, 20), "RGB")


def test_a_lossless_picture_keeps_its_pixels() -> None:
    drawn = opened(re_encode(picture(colour=(1, 2, 3)), LIMITS).content)
    assert drawn.getpixel((2, 2)) == (1, 2, 3)


def test_the_longest_side_is_bounded() -> None:
    assert opened(re_encode(picture("PNG", (640, 160)), LIMITS).content).size == (64, 16)
    assert opened(re_encode(picture("JPEG", (160, 640)), LIMITS).content).size == (16, 64)


def test_what_is_transparent_becomes_white() -> None:
    half = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    half.paste((10, 20, 30, 255), (0, 0, 4, 8))
    drawn = opened(re_encode(saved(half), LIMITS).content)
    assert (drawn.getpixel((0, 0)), drawn.getpixel((7, 0))) == ((10, 20, 30), (255, 255, 255))


def test_a_palette_s_transparent_colour_becomes_white() -> None:
    half = Image.new("P", (8, 8), 0)
    half.putpalette([0, 0, 0, 200, 30, 40])
    half.paste(1, (0, 0, 4, 8))
    drawn = opened(re_encode(saved(half, "GIF", transparency=0), LIMITS).content)
    assert (drawn.getpixel((0, 0)), drawn.getpixel((7, 0))) == ((200, 30, 40), (255, 255, 255))


def test_a_picture_is_turned_upright_and_its_metadata_dropped() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[0x010E] = "taken at home"
    drawn = opened(re_encode(picture("JPEG", (40, 20), exif=exif, comment=b"secret"), LIMITS).content)
    assert drawn.size == (20, 40)
    assert not drawn.getexif()
    assert "comment" not in drawn.info


def test_the_first_frame_of_an_animation_is_used() -> None:
    first, second = (Image.linear_gradient("L").rotate(turn) for turn in (0, 180))
    drawn = opened(re_encode(saved(first, "GIF", save_all=True, append_images=[second]), LIMITS).content)
    assert drawn.getpixel((0, 0)) < drawn.getpixel((0, 63))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("blank", ["white", "black"])
def test_of_an_animation_that_fades_in_a_frame_with_contrast_is_used(kind: str, blank: str) -> None:
    ground, shown = Image.new("RGB", (64, 64), blank), Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    frames = [Image.blend(ground, shown, part / 8) for part in range(9)]
    drawn = re_encode(saved(frames[0], kind, save_all=True, append_images=frames[1:]), LIMITS)
    assert contrast(opened(drawn.content)) > 180
    assert drawn.warning is None


def test_only_the_first_frames_of_an_animation_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []

    def count(*_: object) -> int:
        looked.append(1)
        return 0

    monkeypatch.setattr("service.pictures.reencode.contrast", count)
    frames = [Image.new("L", (8, 8), number) for number in range(200)]
    re_encode(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]), LIMITS)
    assert len(looked) <= 2 * LIMITS.frames


def test_an_animation_that_breaks_off_keeps_the_frames_before() -> None:
    first, second = Image.new("RGB", (64, 64), "white"), Image.effect_noise((64, 64), 50).convert("RGB")
    whole = saved(first, "GIF", save_all=True, append_images=[second, first])
    assert re_encode(whole[:-200], LIMITS).content


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_of_grey_become_eight(kind: str) -> None:
    ramp = Image.new("I;16", (4, 1))
    for place, level in enumerate((0, 257 * 64, 257 * 128, 65535)):
        ramp.putpixel((place, 0), level)
    drawn = opened(re_encode(saved(ramp, kind), LIMITS).content)
    assert [drawn.getpixel((place, 0)) for place in range(4)] == [(level,) * 3 for level in (0, 64, 128, 255)]


def test_numbers_without_a_range_are_stretched_over_all_greys() -> None:
    ramp = Image.new("F", (3, 1))
    for place, level in enumerate((-1.0, 0.0, 1.0)):
        ramp.putpixel((place, 0), level)
    drawn = opened(re_encode(saved(ramp, "TIFF"), LIMITS).content)
    assert [drawn.getpixel((place, 0))[0] for place in range(3)] == [0, 127, 255]


@pytest.mark.parametrize(
    ("mode", "kind", "colour"),
    [
        ("1", "PNG", 1),
        ("L", "PNG", 255),
        ("LA", "PNG", (255, 255)),
        ("P", "PNG", 0),
        ("RGBA", "PNG", (255, 255, 255, 255)),
        ("I;16", "PNG", 65535),
        ("CMYK", "JPEG", (0, 0, 0, 0)),
        ("CMYK", "TIFF", (0, 0, 0, 0)),
        ("LAB", "TIFF", (255, 128, 128)),
        ("YCbCr", "TIFF", (255, 128, 128)),
    ],
)
def test_every_colour_mode_keeps_its_colour(mode: str, kind: str, colour: Any) -> None:
    image = Image.new(mode, (9, 9), colour)
    if mode == "P":
        image.putpalette([255, 255, 255])
    drawn = opened(re_encode(saved(image, kind), LIMITS).content)
    assert min(drawn.getpixel((4, 4))) >= 250


def test_what_is_wholly_transparent_is_refused() -> None:
    with pytest.raises(BadPicture, match=r"^blank: "):
        re_encode(picture(mode="RGBA", colour=(9, 9, 9, 0)), LIMITS)


def test_a_white_logo_on_nothing_is_drawn_on_black() -> None:
    logo = Image.new("RGBA", (20, 20), (255, 255, 255, 0))
    logo.paste((255, 255, 255, 255), (5, 5, 15, 15))
    drawn = re_encode(saved(logo), LIMITS)
    assert [opened(drawn.content).getpixel(place) for place in ((0, 0), (10, 10))] == [(0, 0, 0), (255, 255, 255)]
    assert drawn.warning is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize(("colour", "warned"), [("white", True), ("black", True), ("red", False), ("grey", False)])
def test_what_is_white_or_black_all_over_is_kept_with_a_warning(kind: str, colour: str, warned: bool) -> None:
    drawn = re_encode(picture(kind, (30, 30), colour), LIMITS)
    assert opened(drawn.content).size == (30, 30)
    assert (drawn.warning or "").startswith("blank: ") is warned


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_every_format_is_turned_upright(kind: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    assert opened(re_encode(picture(kind, (40, 20), exif=exif), LIMITS).content).size == (20, 40)


@pytest.mark.filterwarnings("ignore")
def test_broken_metadata_is_ignored() -> None:
    whole = picture("JPEG", (40, 20), exif=b"Exif\0\0II*\0\xff\xff\xff\x7f" + b"\xff" * 50)
    assert opened(re_encode(whole, LIMITS).content).size == (40, 20)


@pytest.mark.parametrize(
    ("encoded", "remedy"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"<?xml version='1.0'?><svg/>", "SVG"),
        (b"  <!DOCTYPE html><html>", "web page"),
        (b"%PDF-1.7", "PDF"),
        (b"https://example.com/a.jpg", "URL"),
    ],
)
def test_an_unsupported_format_is_named_with_a_remedy(encoded: bytes, remedy: str) -> None:
    with pytest.raises(BadPicture, match=f"^format: .*{remedy}"):
        re_encode(encoded, LIMITS)


def test_a_jpeg_of_many_scans_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    re_encode(progressive(60), LIMITS)
    many, large = progressive(101), progressive(20, (1000, 1000))
    monkeypatch.setattr(Image.Image, "load", decode)
    for encoded in (many, large):
        with pytest.raises(BadPicture, match="too_costly: a progressive JPEG"):
            re_encode(encoded, replace(LIMITS, max_bytes=10**7, max_scanned_pixels=19_000_000))


def test_thumbnails_in_a_jpeg_do_not_count_as_scans() -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + b"\xff\xda" * 500
    re_encode(picture("JPEG", (40, 20), exif=exif), LIMITS)


def test_a_long_side_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "load", decode)
    for size in ((1, 5_001), (5_001, 1)):
        with pytest.raises(BadPicture, match="too_long_side"):
            re_encode(png_that_claims(*size), LIMITS)


def test_what_is_transparent_is_reduced_before_it_is_composited(monkeypatch: pytest.MonkeyPatch) -> None:
    composited: list[tuple[int, int]] = []
    composite = Image.alpha_composite

    def watch(ground: Image.Image, picture: Image.Image) -> Image.Image:
        composited.append(picture.size)
        return composite(ground, picture)

    monkeypatch.setattr(Image, "alpha_composite", watch)
    re_encode(picture(size=(900, 900), mode="RGBA", colour=(9, 9, 9, 90)), LIMITS)
    assert composited == [(64, 64)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "AVIF", "BMP", "TIFF"])
def test_a_mutated_picture_is_re_encoded_or_refused(kind: str) -> None:
    source = saved(Image.linear_gradient("L").resize((40, 30)).convert("RGB"), kind)
    for seed in range(150):
        random = Random(seed)
        mutated = bytearray(source[: random.randrange(len(source) // 2, len(source) + 1)])
        for _ in range(random.randrange(1, 6)):
            mutated[random.randrange(len(mutated))] = random.randrange(256)
        with suppress(BadPicture):
            re_encode(bytes(mutated), LIMITS)


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
        re_encode(encoded, LIMITS)
    assert caught.value.detail.partition(":")[0] == reason


def decode(*_: object) -> None:
    raise AssertionError("decoded")


def test_too_many_pixels_are_refused_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "load", decode)
    with pytest.raises(BadPicture, match="too_many_pixels"):
        re_encode(png_that_claims(5_000, 5_000), LIMITS)
