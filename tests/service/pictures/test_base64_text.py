"""Guarantees of reading base64."""

from base64 import b64encode, encodebytes, urlsafe_b64encode
from random import Random

import pytest

from service.errors import BadPicture
from service.pictures.base64_text import decode_base64, longest

BYTES = Random(7).randbytes(1000)
PLAIN = b64encode(BYTES)


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN + b"\n",
        b"\r\n" + PLAIN + b" ",
        encodebytes(BYTES),
        encodebytes(BYTES).replace(b"\n", b"\r\n"),
        urlsafe_b64encode(BYTES),
        PLAIN.rstrip(b"="),
        b"data:image/png;base64," + PLAIN,
        b"DATA:image/jpeg;charset=utf-8;BASE64, " + PLAIN,
        b" data:;base64," + urlsafe_b64encode(BYTES).rstrip(b"="),
        b"data:image/png;base64," + PLAIN.replace(b"+", b"%2B").replace(b"/", b"%2f").replace(b"=", b"%3D"),
    ],
)
def test_base64_is_read_in_the_forms_that_clients_send(text: bytes) -> None:
    assert decode_base64(text, 1000) == BYTES


@pytest.mark.parametrize(
    "text", [b"%", b"a", b"====a", b"a=b=", b"data:image/svg+xml;utf8,<svg/>", b"data:x", b"\x00AAA"]
)
def test_what_is_not_base64_is_refused(text: bytes) -> None:
    with pytest.raises(BadPicture, match=r"^base64: "):
        decode_base64(text, 1000)


def test_the_bytes_are_bounded_in_every_form() -> None:
    with pytest.raises(BadPicture, match=r"^too_many_bytes: "):
        decode_base64(PLAIN, 999)


@pytest.mark.parametrize("size", [1, 1000, 100_000])
def test_the_longest_text_leaves_room_for_every_form(size: int) -> None:
    wrapped = b"data:image/png;base64," + encodebytes(b"x" * size).replace(b"\n", b"\r\n")
    assert len(wrapped) <= longest(size)
