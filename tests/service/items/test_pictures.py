"""Pictures of items: those of a body are decoded and stored, those at a URL wait, a bad one costs no item."""

import asyncio
import socket
from base64 import encodebytes
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from service.errors import Overloaded
from service.pictures.decoder import PictureDecoder
from service.pictures.ingest import IngestResult, PictureIngest
from service.pictures.reencode import ReEncoded
from service.pictures.store import open_pictures
from service.settings.pictures import PictureSettings
from tests.service.conftest import Gateway, OpenGateway
from tests.service.items.teapot import TEAPOT
from tests.service.pictures.pictures import encoded, opened, picture, png_that_claims, progressive


async def test_two_pictures_are_refused(gateway: Gateway) -> None:
    answer = await gateway.ask("PUT", "/items/i", {**TEAPOT, "image_url": "http://x", "image_base64": "AAAA"})
    assert (answer.status_code, answer.json()["field"]) == (422, "image_base64")


async def test_a_picture_is_stored_by_its_content(gateway: Gateway) -> None:
    one = (await gateway.ask("PUT", "/items/a", {**TEAPOT, "image_base64": encoded(picture())})).json()
    other = (await gateway.ask("PUT", "/items/b", {**TEAPOT, "image_base64": encoded(picture())})).json()
    assert one["picture"] == other["picture"] is not None
    stored = await open_pictures(gateway.settings).read(one["picture"])
    assert stored is not None
    assert opened(stored).size == (6, 4)


BAD_PICTURES = [
    (encoded(b"no picture"), "format"),
    ("%%%", "base64"),
    ("", "format"),
    (encoded(png_that_claims(30_000, 30_000)), "too_many_pixels"),
    (encoded(picture()[:50]), "damaged"),
]


@pytest.mark.parametrize(("base64", "reason"), BAD_PICTURES)
async def test_a_bad_picture_is_reported_and_the_item_is_stored_without_it(
    gateway: Gateway, base64: str, reason: str
) -> None:
    answer = await gateway.ask("PUT", "/items/i", {**TEAPOT, "image_base64": base64})
    assert answer.status_code == 201
    assert answer.json()["picture"] is None
    assert answer.json()["picture_error"].startswith(f"{reason}:")
    assert (await gateway.ask("GET", "/items/i")).json()["picture_error"] == answer.json()["picture_error"]
    assert gateway.count("tastestream_pictures_total", result=reason) == 1


async def test_a_picture_of_too_many_bytes_is_named(open_gateway: OpenGateway) -> None:
    async with open_gateway(pictures=PictureSettings(max_bytes=50)) as gateway:
        answer = await gateway.ask("PUT", "/items/i", {**TEAPOT, "image_base64": encoded(picture())})
        assert answer.json()["picture_error"].startswith("too_many_bytes:")


async def test_a_picture_stays_until_it_is_replaced_or_removed(gateway: Gateway) -> None:
    red, blue = encoded(picture(colour="red")), encoded(picture(colour="blue"))
    first = (await gateway.ask("PUT", "/items/i", {**TEAPOT, "image_base64": red})).json()["picture"]
    assert (await gateway.ask("PUT", "/items/i", {"title": "Pot"})).json()["picture"] == first
    refused = (await gateway.ask("PUT", "/items/i", {"title": "Pot", "image_base64": "%"})).json()
    assert (refused["picture"], refused["picture_error"]) == (first, "base64: not base64")
    second = (await gateway.ask("PUT", "/items/i", {"title": "Pot", "image_base64": blue})).json()
    assert second["picture"] != first
    assert second["picture_error"] is None
    assert (await gateway.ask("PUT", "/items/i", {"title": "Pot", "image_url": None})).json()["picture"] is None


async def test_a_picture_at_a_url_is_pending_and_the_previous_one_stays(gateway: Gateway) -> None:
    before = (await gateway.ask("PUT", "/items/i", {**TEAPOT, "image_base64": encoded(picture())})).json()["picture"]
    asked = {**TEAPOT, "image_url": "https://example.com/teapot.jpg"}
    answer = await gateway.ask("PUT", "/items/i", asked)
    assert (answer.status_code, answer.json()["revision"]) == (200, 1)
    for shown in (answer.json(), (await gateway.ask("GET", "/items/i")).json()):
        assert (shown["picture"], shown["picture_pending"], shown["picture_error"]) == (before, True, None)
    body = (await gateway.ask("POST", "/items", [{"item_id": "plain", "title": "P"}, {"item_id": "j", **asked}])).json()
    assert (body["accepted"], body["picture_errors"]) == (2, [])
    assert body["pictures_pending"] == [{"index": 1, "item_id": "j"}]
    assert await gateway.store.pictures.count() == 2


@pytest.mark.parametrize(
    "change", [{"image_base64": encoded(picture(colour="blue"))}, {"image_base64": "%"}, {"image_url": None}]
)
async def test_a_later_picture_field_replaces_a_pending_one(gateway: Gateway, change: dict[str, Any]) -> None:
    await gateway.ask("PUT", "/items/i", {**TEAPOT, "image_url": "https://example.com/teapot.jpg"})
    assert (await gateway.ask("PUT", "/items/i", {"title": "Pot"})).json()["picture_pending"]
    assert not (await gateway.ask("PUT", "/items/i", {**TEAPOT, **change})).json()["picture_pending"]
    assert await gateway.store.pictures.count() == 0


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://169.254.169.254/latest/meta-data", "private_address"),
        ("http://[fec0::1]/", "private_address"),
        ("http://example.com:6379/", "port"),
        ("http://xn--a/", "url"),
        ("http:\\\\x", "url"),
        ("data:image/png;base64,AAAA", "url"),
        ("javascript:alert(1)", "url"),
        ("", "url"),
    ],
)
async def test_a_refused_url_is_reported_at_once_and_other_items_are_stored(
    gateway: Gateway, url: str, reason: str
) -> None:
    """`http://xn--a/` was a 500, and its batch was lost."""
    alone = await gateway.ask("PUT", "/items/i", {**TEAPOT, "image_url": url})
    assert alone.status_code == 201
    assert alone.json()["picture_error"].startswith(f"{reason}:")
    items = [{"item_id": "bad", "title": "B", "image_url": url}, {"item_id": "good", "title": "G"}]
    batch = await gateway.ask("POST", "/items", items)
    assert (batch.status_code, batch.json()["accepted"]) == (202, 2)
    assert [error["item_id"] for error in batch.json()["picture_errors"]] == ["bad"]
    assert gateway.count("tastestream_pictures_total", result=reason) == 2
    assert await gateway.store.pictures.count() == 0


async def test_one_picture_that_cannot_be_decoded_now_fails_no_other_item(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = PictureIngest.take_base64

    async def busy(self: PictureIngest, text: str) -> IngestResult:
        if text == "busy":
            raise Overloaded("too many pictures wait to be decoded", retry_after_s=1.0)
        return await genuine(self, text)

    monkeypatch.setattr(PictureIngest, "take_base64", busy)
    items = [
        {"item_id": "plain", "title": "P"},
        {"item_id": "late", "title": "L", "image_base64": "busy"},
        {"item_id": "good", "title": "G", "image_base64": encoded(picture())},
    ]
    assert (await gateway.ask("POST", "/items", items)).status_code == 429
    stored = (await gateway.ask("GET", "/items")).json()["items"]
    assert {item["item_id"]: bool(item["picture"]) for item in stored} == {"plain": False, "good": True}


@pytest.mark.parametrize("path", ["/items", "/items/i1"])
async def test_a_picture_folder_that_cannot_be_written_is_a_503_with_retry_after(
    open_gateway: OpenGateway, tmp_path: Path, path: str
) -> None:
    folder = tmp_path / "no-folder"
    folder.write_text("a file")
    async with open_gateway(pictures=PictureSettings(url=str(folder))) as gateway:
        item = {"title": "T", "image_base64": encoded(picture())}
        method, body = ("PUT", item) if path == "/items/i1" else ("POST", [{**item, "item_id": "i1"}])
        refused = await gateway.ask(method, path, body)
        assert (refused.status_code, refused.json()["code"]) == (503, "state_unavailable")
        assert refused.headers["retry-after"] == "1"
        assert str(folder) not in refused.text
        assert (await gateway.ask("GET", "/items/i1")).status_code == 404


async def test_no_picture_is_decoded_in_the_gateway(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, broken = encoded(picture()), encoded(progressive(4000))

    def decode(*_: object, **__: object) -> None:
        raise AssertionError("decoded here")

    monkeypatch.setattr(Image, "open", decode)
    answer = await gateway.ask("PUT", "/items/i", {**TEAPOT, "image_base64": whole})
    assert (answer.json()["picture_error"], len(answer.json()["picture"])) == (None, 64)
    answer = await gateway.ask("PUT", "/items/j", {**TEAPOT, "image_base64": broken})
    assert answer.json()["picture_error"].startswith("too_costly: ")


async def test_a_picture_that_is_too_costly_affects_no_other_item(gateway: Gateway) -> None:
    given = {"a": progressive(4000), "b": picture(), "c": png_that_claims(1, 40_000_000), "d": picture("WEBP")}
    items = [{"item_id": name, "title": name, "image_base64": encoded(one)} for name, one in given.items()]
    answer = (await gateway.ask("POST", "/items", items)).json()
    errors = {one["item_id"]: one["detail"].partition(":")[0] for one in answer["picture_errors"]}
    assert (answer["accepted"], errors) == (4, {"a": "too_costly", "c": "too_long_side"})
    stored = {item["item_id"] for item in (await gateway.ask("GET", "/items")).json()["items"] if item["picture"]}
    assert stored == {"b", "d"}


async def test_a_request_with_many_pictures_decodes_few_at_a_time(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, most = 0, 0

    async def decode(*_: object) -> ReEncoded:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        for _turn in range(20):
            await asyncio.sleep(0)
        waiting -= 1
        return ReEncoded(picture())

    monkeypatch.setattr(PictureDecoder, "decode_base64", decode)
    items = [{"item_id": str(number), "title": "T", "image_base64": encoded(picture())} for number in range(50)]
    assert (await gateway.ask("POST", "/items", items)).json()["accepted"] == 50
    assert 1 < most <= 4


@pytest.mark.parametrize("head", ["", "data:image/png;base64,"])
async def test_base64_is_accepted_in_the_forms_that_clients_send(gateway: Gateway, head: str) -> None:
    wrapped = head + encodebytes(picture(colour="red")).decode().replace("=", "")
    answer = (await gateway.ask("PUT", "/items/i", {**TEAPOT, "image_base64": wrapped})).json()
    plain = (await gateway.ask("PUT", "/items/j", {**TEAPOT, "image_base64": encoded(picture(colour="red"))})).json()
    assert answer["picture_error"] is None
    assert answer["picture"] == plain["picture"]


async def test_a_blank_picture_is_reported(gateway: Gateway) -> None:
    white, clear = picture(colour="white"), picture(mode="RGBA", colour=(9, 9, 9, 0))
    items = [{"item_id": n, "title": n, "image_base64": encoded(one)} for n, one in (("w", white), ("t", clear))]
    errors = (await gateway.ask("POST", "/items", items)).json()["picture_errors"]
    assert [one["detail"] for one in errors] == [
        "blank: white or black all over; the picture is kept",
        "blank: every pixel is transparent",
    ]
    kept = {item["item_id"]: bool(item["picture"]) for item in (await gateway.ask("GET", "/items")).json()["items"]}
    assert kept == {"w": True, "t": False}
    assert gateway.count("tastestream_pictures_total", result="stored_blank") == 1


async def test_the_gateway_does_not_look_up_picture_hosts(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 hosts whose name servers did not answer delayed every recommendation by 100 s."""
    asked: list[Any] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *more, **named: asked.append(host))
    items = [{"item_id": f"i{n}", "title": "T", "image_url": f"http://silent{n}.example/a"} for n in range(200)]
    answer = await gateway.ask("POST", "/items", items)
    assert len(answer.json()["pictures_pending"]) == 200
    assert asked == []
