"""Guarantees of `/items`."""

import asyncio
from typing import Any

import orjson
import pytest

from service.settings.limits import LimitSettings
from tests.service.conftest import Gateway, OpenGateway
from tests.service.items.teapot import TEAPOT
from tests.service.pictures.pictures import encoded, picture
from tests.service.serving import serving


async def test_an_item_is_created_replaced_read_and_removed(gateway: Gateway) -> None:
    created = await gateway.ask("PUT", "/items/i1", TEAPOT)
    assert created.status_code == 201
    assert created.json() == {
        **TEAPOT,
        "item_id": "i1",
        "revision": 1,
        "picture": None,
        "picture_error": None,
        "summary": None,
        "summary_model": None,
        "picture_pending": False,
    }
    assert (await gateway.ask("GET", "/items/i1")).json() == created.json()
    replaced = await gateway.ask("PUT", "/items/i1", {"title": "Pot"})
    assert replaced.status_code == 200
    assert (replaced.json()["description"], replaced.json()["revision"]) == ("", 2)
    assert (await gateway.ask("DELETE", "/items/i1")).status_code == 204
    for method in ("GET", "DELETE"):
        gone = await gateway.ask(method, "/items/i1")
        assert (gone.status_code, gone.json()["code"]) == (404, "item_not_found")


@pytest.mark.parametrize("levels", [100, *range(246, 258)])
async def test_attributes_nested_too_deeply_for_an_answer_are_refused(gateway: Gateway, levels: int) -> None:
    deep = b'{"item_id": "i1", "title": "Pot", "attributes": {"a": ' + b"[" * levels + b"]" * levels + b"}}"
    put = await gateway.ask("POST", "/items", content=deep)
    assert put.status_code in {202, 422}
    page = await gateway.ask("GET", "/items")
    assert (page.status_code, len(page.json()["items"])) == (200, put.status_code == 202)


@pytest.mark.parametrize(
    ("item_id", "path"),
    [
        ("a/b", "a%2Fb"),
        ("a/similar", "a%2Fsimilar"),
        ("similar", "similar"),
        ("a b?c#d&e", "a%20b%3Fc%23d%26e"),
        ("50%", "50%25"),
        ("%2F", "%252F"),
        ("ü/中", "%C3%BC%2F%E4%B8%AD"),
        ("x" * 256, "x" * 256),
        ("中" * 256, "%E4%B8%AD" * 256),
        ("a+b:c@d", "a+b:c@d"),
    ],
)
async def test_any_id_can_be_a_path_segment(gateway: Gateway, item_id: str, path: str) -> None:
    created = await gateway.ask("PUT", f"/items/{path}", {"title": "T"})
    assert (created.status_code, created.json()["item_id"]) == (201, item_id)
    assert (await gateway.ask("GET", f"/items/{path}/similar")).status_code == 200
    assert (await gateway.ask("GET", "/items")).json()["items"][0]["item_id"] == item_id


@pytest.mark.parametrize("path", ["a%00b", "a%0Ab", "a%7Fb", "%C2%85", "%ff", "x" * 257])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_a_path_that_is_no_id_is_a_422(gateway: Gateway, method: str, path: str) -> None:
    answer = await gateway.ask(method, f"/items/{path}", {"title": "T"} if method == "PUT" else None)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, "invalid_request", "item_id")


@pytest.mark.parametrize("path", ["/items/", "/items/a/b", "/items/a/similar/b"])
async def test_a_slash_that_is_not_encoded_separates(gateway: Gateway, path: str) -> None:
    assert (await gateway.ask("GET", path)).status_code == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"colour": "red"}, "colour"),
        ({"item_id": "i"}, "item_id"),
        ({"title": None}, "title"),
        ({"title": ""}, "title"),
        ({"title": " \n"}, "title"),
        ({"title": 5}, "title"),
        ({"title": "t" * 501}, "title"),
        ({"description": "t" * 10_001}, "description"),
        ({"description": 3}, "description"),
        ({"genres": "kitchen"}, "genres"),
        ({"genres": ["g"] * 51}, "genres"),
        ({"genres": ["ok", "g" * 101]}, "genres.1"),
        ({"tags": [""]}, "tags.0"),
        ({"tags": [1]}, "tags.0"),
        ({"attributes": []}, "attributes"),
        ({"attributes": {"a": "b" * 4096}}, "attributes"),
        ({"image_url": 5}, "image_url"),
        ({"image_url": "http://x/" + "y" * 4096}, "image_url"),
        ({"image_base64": 5}, "image_base64"),
    ],
)
async def test_a_wrong_field_is_named(gateway: Gateway, change: dict[str, Any], field: str) -> None:
    answer = await gateway.ask("PUT", "/items/i", {**TEAPOT, **change})
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, "invalid_request", field)
    assert (await gateway.ask("GET", "/items/i")).status_code == 404


async def test_a_missing_title_is_named(gateway: Gateway) -> None:
    assert (await gateway.ask("PUT", "/items/i", {"tags": []})).json()["field"] == "title"


async def test_items_are_stored_even_if_the_client_disconnects(open_gateway: OpenGateway) -> None:
    """With one dead picture host, none of 100 items was stored, not even those without pictures."""
    items = [
        {"item_id": f"i{n}", "title": "T", **({"image_url": f"http://dead{n}.example/a"} if n % 2 else {})}
        for n in range(100)
    ]
    async with open_gateway() as gateway, serving(gateway.app, lifespan="off") as url:
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        body = orjson.dumps(items)
        head = (
            f"POST /items HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

        async with asyncio.timeout(300):
            while await gateway.store.items.count() < 100:  # noqa: ASYNC110 - the condition is in Redis
                await asyncio.sleep(0.01)
        assert await gateway.store.pictures.count() == 50


@pytest.mark.parametrize("lines", [False, True])
async def test_many_items_are_put_at_once(gateway: Gateway, lines: bool) -> None:
    items = [
        {"item_id": "a", **TEAPOT, "image_base64": encoded(picture())},
        {"item_id": "b", "title": "B", "colour": "red"},
        {"item_id": "c", "title": "C", "image_base64": "%"},
        {"item_id": "a", "title": "A again"},
        {"title": "nameless"},
        {"item_id": "d", "title": "D"},
    ]
    if lines:
        content = b"\n".join(map(orjson.dumps, items))
        answer = await gateway.client.post("/items", content=content, headers={"content-type": "application/x-ndjson"})
    else:
        answer = await gateway.ask("POST", "/items", items)
    assert answer.status_code == 202
    body = answer.json()
    assert (body["accepted"], body["duplicates"]) == (3, 1)
    assert [(one["index"], one["field"]) for one in body["rejected"]] == [(1, "colour"), (4, "item_id")]
    assert body["picture_errors"] == [{"index": 2, "item_id": "c", "detail": "base64: not base64"}]
    stored = {item["item_id"]: item["title"] for item in (await gateway.ask("GET", "/items")).json()["items"]}
    assert stored == {"a": "A again", "c": "C", "d": "D"}


async def test_nothing_acceptable_is_a_422_that_lists_why(gateway: Gateway) -> None:
    answer = await gateway.ask("POST", "/items", [{"item_id": "a"}, 5])
    assert (answer.status_code, answer.json()["field"]) == (422, "title")
    assert [rejection["index"] for rejection in answer.json()["rejected"]] == [0, 1]


async def test_more_items_than_a_batch_may_hold_are_refused_whole(open_gateway: OpenGateway) -> None:
    async with open_gateway(limits=LimitSettings(bulk_items=2)) as gateway:
        items = [{"item_id": name, "title": name} for name in "abc"]
        answer = await gateway.ask("POST", "/items", items)
        assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (413, "batch_too_large", "items")
        assert (await gateway.ask("GET", "/items")).json()["items"] == []


async def test_the_catalogue_is_read_page_by_page(gateway: Gateway) -> None:
    names = {f"i{number}" for number in range(25)}
    await gateway.ask("POST", "/items", [{"item_id": name, "title": name} for name in names])
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = (
            await gateway.ask("GET", "/items", params={"limit": 10} | ({"cursor": cursor} if cursor else {}))
        ).json()
        found += [item["item_id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(found) == 25
    assert set(found) == names


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=WzEuMCwiYSJd", "cursor"),
        ("cursor=%ff", "cursor"),
    ],
)
async def test_an_invalid_page_parameter_is_named(gateway: Gateway, query: str, field: str) -> None:
    answer = await gateway.ask("GET", f"/items?{query}")
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, "invalid_request", field)


async def test_similar_items_are_those_that_the_same_users_liked(gateway: Gateway) -> None:
    await gateway.ask("POST", "/items", [{"item_id": name, "title": name.upper()} for name in "abc"])
    cooccurrence = gateway.store.cooccurrence
    await cooccurrence.record(["a", "b", "unknown"], [])
    await cooccurrence.record(["a", "b"], [])
    await cooccurrence.record(["a", "c"], [])
    answer = (await gateway.ask("GET", "/items/a/similar?k=2")).json()
    assert answer["item_id"] == "a"
    assert (answer["items"][0]["item_id"], answer["items"][0]["title"]) == ("b", "B")
    assert all(0 < item["score"] <= 1 for item in answer["items"])
    assert (await gateway.ask("GET", "/items/nobody/similar")).status_code == 404
    assert (await gateway.ask("GET", "/items/a/similar?k=101")).status_code == 422
