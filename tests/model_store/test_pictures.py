"""One resize for training and serving."""

import io

import pytest
from PIL import Image, UnidentifiedImageError

from model_store.byte_cache import OVERHEAD
from model_store.pictures import FittedPictures, PictureSize, fit_picture


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    image.save(out, format=kind)
    return out.getvalue()


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


TALL = Image.linear_gradient("L").resize((100, 200)).convert("RGB")


@pytest.mark.parametrize(
    ("size", "result"),
    [
        (PictureSize(64, 64), (64, 64)),
        (PictureSize(96, 32), (96, 32)),
        (PictureSize(64, 64, "contain"), (32, 64)),
        (PictureSize(400, 400, "contain"), (100, 200)),
    ],
)
def test_a_picture_gets_the_size_of_its_model(size: PictureSize, result: tuple[int, int]) -> None:
    fitted = opened(fit_picture(encoded(TALL), size))
    assert (fitted.size, fitted.mode, fitted.format) == (result, "RGB", "PNG")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_every_stored_format_is_read(kind: str) -> None:
    assert opened(fit_picture(encoded(TALL, kind), PictureSize())).size == (64, 64)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_every_colour_mode_becomes_rgb(mode: str) -> None:
    image = Image.new(mode, (10, 10))
    content = encoded(image, "TIFF" if mode == "CMYK" else "PNG")
    assert opened(fit_picture(content, PictureSize())).mode == "RGB"


def test_what_is_transparent_sixteen_bits_deep_or_turned_is_seen_as_the_service_stores_it() -> None:
    half = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    half.paste((10, 20, 30, 255), (0, 0, 32, 64))
    seen = opened(fit_picture(encoded(half), PictureSize()))
    assert [seen.getpixel((x, 32)) for x in (0, 63)] == [(10, 20, 30), (255, 255, 255)]
    assert (
        opened(fit_picture(encoded(Image.new("I;16", (64, 64), 257 * 100)), PictureSize())).getpixel((9, 9))[0] == 100
    )
    assert opened(fit_picture(encoded(Image.new("LA", (64, 64), (9, 0))), PictureSize())).getpixel((9, 9))[0] == 255
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = io.BytesIO()
    Image.new("RGB", (90, 45)).save(turned, "JPEG", exif=exif)
    assert opened(fit_picture(turned.getvalue(), PictureSize(64, 64, "contain"))).size == (32, 64)


def test_fitting_a_fitted_picture_changes_nothing() -> None:
    once = fit_picture(encoded(TALL), PictureSize())
    assert opened(fit_picture(once, PictureSize())).tobytes() == opened(once).tobytes()


@pytest.mark.parametrize(("given", "fitted"), [((970, 4), (224, 32)), ((4, 970), (32, 224)), ((1, 1), (32, 32))])
def test_an_extreme_picture_gets_margins_instead_of_sides_that_a_server_refuses(
    given: tuple[int, int], fitted: tuple[int, int]
) -> None:
    size = PictureSize(224, 224, "contain")
    assert opened(fit_picture(encoded(Image.new("RGB", given, "red")), size)).size == fitted


def test_fitted_pictures_are_kept_by_content_up_to_a_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = []

    def fit(content: bytes, size: PictureSize) -> bytes:
        fitted.append(bytes(content))
        return bytes(300)

    monkeypatch.setattr("model_store.pictures.fit_picture", fit)
    pictures = FittedPictures(PictureSize(), cached_bytes=2 * (422 + OVERHEAD))
    assert pictures.data_url(b"a") == pictures.data_url(bytes(bytearray(b"a")))
    assert pictures.data_url(b"b").startswith("data:image/png;base64,")
    pictures.data_url(b"a")
    pictures.data_url(b"c")
    assert fitted == [b"a", b"b", b"c"]
    pictures.data_url(b"a")
    pictures.data_url(b"b")
    assert fitted == [b"a", b"b", b"c", b"b"]


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(UnidentifiedImageError):
        fit_picture(b"no picture", PictureSize())
