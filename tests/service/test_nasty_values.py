"""The promise that no input causes a 500, tested with values that break services."""

import base64
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import orjson
import pytest
import structlog

from tests.service.conftest import Gateway

JSON = {"content-type": "application/json"}
NDJSON = {"content-type": "application/x-ndjson"}
CLOUD = {"content-type": "application/cloudevents+json"}
CLOUD_BATCH = {"content-type": "application/cloudevents-batch+json"}

TEXTS = [
    *("", " ", "\t", "\x7f", "a\x85", "\u200b", "\u200c", "\ufeff", "\ufffe", "\U0010ffff", "e\u0301", "\x00"),
    *("x" * 256, "x" * 257, "x" * 20_000, "😀" * 256, "..", ".", "%", "%2F", "%00", "?", "#", "*", "{}", "\\", "'"),
    *("null", "undefined", "NaN", "-inf", "1e400", "true", "<s>", "${a}", "{{a}}", "(a", "[a", "+", "-"),
    *("2025-11-20T08:30:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:60+23:59", "1970-01-01T00:00:00+23:59"),
    *("2016-12-31T23:59:60Z", "1970-01-01T00:00:60Z", "1970-01-01T24:00:00Z", "2025-02-29T00:00:00Z"),
]
VALUES: list[Any] = [
    *(None, True, False, [], {}, [[]], [{}], {"": ""}, {"a": {"b": [1, {"c": None}]}}, [None] * 60),
    {"\x00": "\x00"},
    {str(number): number for number in range(60)},
]
NUMBERS = [
    *(b"0", b"-0", b"-0.0", b"1", b"-1", b"1.5", b"1e308", b"-1e308", b"1e-320", b"1e400", b"-1e400", b"1e-400"),
    *(b"9007199254740993", b"9223372036854775808", b"18446744073709551615", b"18446744073709551616"),
    *(b"-9223372036854775808", b"-9223372036854775809", b"9" * 400, b"0." + b"1" * 5000),
]
BROKEN = [
    *(b"NaN", b"Infinity", b'"\\ud800"', b'"\\udc00\\ud800"', b'"\xff"', b'"\xed\xa0\x80"', b"\x00", b"{", b'{"a"'),
    *(b"[" * 1000 + b"]" * 1000, b"[" * 1030 + b"]" * 1030, b'{"a":' * 1000 + b"1" + b"}" * 1000),
]
ALL = [*map(orjson.dumps, [*TEXTS, *VALUES]), *NUMBERS, *BROKEN]

EVENT = {"user_id": "u", "item_id": "i", "type": "like", "timestamp": 1, "value": 1, "event_id": "e", "context": {}}
ITEM = {"item_id": "i", "title": "t", "description": "d", "genres": ["g"], "tags": ["t"], "attributes": {"a": 1}}
ASK = {
    "user_id": "u",
    "candidates": ["i", {"item_id": "j", "title": "t"}],
    "k": 3,
    "exclude_seen": True,
    "filters": {"genres": ["g"], "tags": [], "attributes": {"a": 1}},
    "deadline_ms": 900,
    "context": {},
    "explain": True,
}
ENVELOPE = {
    "specversion": "1.0",
    "id": "1",
    "source": "/s",
    "type": "a.like",
    "time": "2025-11-20T08:30:00Z",
    "datacontenttype": "application/json",
    "data": {"user_id": "u", "item_id": "i"},
    "data_base64": None,
}
INSIDE = [
    b'{"user_id":"u","candidates":[%s]}',
    b'{"user_id":"u","candidates":[{"item_id":%s}]}',
    b'{"user_id":"u","candidates":[{"item_id":"q","title":"t","attributes":{"a":%s}}]}',
    b'{"user_id":"u","filters":{"genres":[%s]}}',
    b'{"user_id":"u","filters":{"attributes":{"a":%s}}}',
    b'{"user_id":"u","candidates":["i","j"],"filters":{"attributes":{"a":[%s]}}}',
]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        logging.disable(logging.CRITICAL)
        yield
        logging.disable(logging.NOTSET)


async def check(gateway: Gateway, method: str, path: str, headers: Any = None, body: bytes | None = None) -> None:
    answer = await gateway.client.request(method, path, headers=headers, content=body)
    assert answer.status_code != 500, (method, path[:200], headers, (body or b"")[:200])
    if answer.status_code >= 400 and method != "HEAD":
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code


def swapped(base: dict[str, Any]) -> Iterator[bytes]:
    """`base` with each of its fields replaced by each of the values."""
    for field in base:
        rest = orjson.dumps({name: value for name, value in base.items() if name != field})[:-1]
        for value in ALL:
            yield rest + b"," + orjson.dumps(field) + b":" + value + b"}"


async def test_in_a_field_of_an_event(gateway: Gateway) -> None:
    for body in swapped(EVENT):
        await check(gateway, "POST", "/events", JSON, b'[{"user_id":"u","item_id":"k"},' + body + b"]")
        await check(gateway, "POST", "/events", NDJSON, body)


async def test_in_a_field_of_a_cloudevent(gateway: Gateway) -> None:
    for body in swapped(ENVELOPE):
        await check(gateway, "POST", "/events", CLOUD, body)
        await check(gateway, "POST", "/events", CLOUD_BATCH, b"[" + body + b"]")


async def test_in_a_field_of_an_item(gateway: Gateway) -> None:
    for body in swapped(ITEM):
        await check(gateway, "POST", "/items", NDJSON, body)
        await check(gateway, "PUT", "/items/i", JSON, body.replace(b'"item_id":"i",', b"", 1))


async def test_in_a_field_of_a_recommendation(gateway: Gateway) -> None:
    await check(gateway, "POST", "/items", JSON, orjson.dumps([{**ITEM, "attributes": {"a": [1, None, {}, "x"]}}]))
    for body in swapped(ASK):
        await check(gateway, "POST", "/recommend", JSON, body)
    for template in INSIDE:
        for value in ALL:
            await check(gateway, "POST", "/recommend", JSON, template % value)


async def test_in_place_of_a_body(gateway: Gateway) -> None:
    for value in ALL:
        for path in ("/events", "/items", "/recommend"):
            for headers in (JSON, NDJSON, CLOUD, CLOUD_BATCH):
                await check(gateway, "POST", path, headers, value)
            for wrapped in (b"[%s]", b'{"events":%s}', b'{"items":%s}'):
                await check(gateway, "POST", path, JSON, wrapped % value)
        await check(gateway, "PUT", "/items/i", JSON, value)


async def test_in_a_cursor(gateway: Gateway) -> None:
    for number in range(3):
        await check(gateway, "PUT", f"/items/i{number}", JSON, b'{"title":"t"}')
    for value in ALL:
        for text in (value, b"[%s]" % value, b'[%s,"a"]' % value, b"[0,%s]" % value, b'[0,"a",%s]' % value):
            await check(gateway, "GET", f"/items?cursor={quote(base64.urlsafe_b64encode(text[:1400]))}")
    for text in ("", "=", "====", "é", "%", "YQ==", "//", "+-", "%ff", "%00", "%ED%A0%80"):
        await check(gateway, "GET", f"/items?cursor={text}")


async def test_in_a_query(gateway: Gateway) -> None:
    numbers = (
        "",
        "1.0",
        "1e3",
        "%EF%BC%91",
        "1_0",
        "+1",
        "%201",
        "9" * 30,
        "%ff",
        "%00",
        "0x1",
        "%D9%A1",
        "--1",
        "true",
    )
    for number in numbers:
        for path in ("/items?limit=", "/items/i/similar?k=", "/events?results="):
            await check(gateway, "GET", path + number)
            await check(gateway, "POST", path + number, JSON, orjson.dumps(EVENT))
    for query in ("limit=1&limit=2", "%", "&&&", "=", "a=b", "[]=1", "limit[]=1", ";" * 5000, "limit", "cursor&cursor"):
        await check(gateway, "GET", f"/items?{query}")


async def test_in_a_path(gateway: Gateway) -> None:
    encoded = ("%", "%2", "%zz", "%ff", "%C0%80", "%ED%A0%80", "%F4%90%80%80", "%2F", "%2f..%2f", "a%2Fsimilar", ";a=b")
    for given in (*encoded, *(quote(text, safe="") for text in TEXTS)):
        for path in (f"/items/{given}", f"/items/{given}/similar", f"/users/{given}"):
            for method in ("GET", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "MADEUP"):
                await check(gateway, method, path)
        await check(gateway, "PUT", f"/items/{given}", JSON, b'{"title":"t"}')


async def test_in_a_header(gateway: Gateway) -> None:
    texts = (
        b"",
        b" ",
        b",",
        b";",
        b"=",
        b"\xff",
        b"%",
        b'"',
        b"x" * 5000,
        b"*/*;q=x",
        b"application/json;charset=",
        b"-1",
    )
    names = [
        *(
            "content-type",
            "content-encoding",
            "accept",
            "authorization",
            "x-request-id",
            "traceparent",
            "prefer",
            "range",
            "if-match",
        ),
        *(
            "expect",
            "origin",
            "host",
            "webhook-request-origin",
            "ce-id",
            "ce-specversion",
            "ce-",
            "ce-time",
            "ce-data",
            "ce-data_base64",
        ),
    ]
    binary = [(b"ce-id", b"1"), (b"ce-source", b"/"), (b"ce-type", b"a.b"), (b"ce-specversion", b"1.0")]
    for name in names:
        for text in texts:
            headers = [(b"content-type", b"application/json")] if name != "content-type" else []
            headers += [one for one in binary if name.startswith("ce-") and one[0] != name.encode()]
            for method, path in (("POST", "/events"), ("POST", "/items"), ("PUT", "/items/i"), ("GET", "/items")):
                body = None if method == "GET" else b'{"user_id":"u","item_id":"i"}'
                await check(gateway, method, path, [*headers, (name.encode(), text)], body)
