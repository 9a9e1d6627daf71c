"""Promises to common clients: the headers and bodies that they really send are accepted, or refused with a remedy."""

import gzip
from typing import Any

import orjson
import pytest

from tests.service.conftest import Gateway

EVENT = b'{"user_id":"u","item_id":"i"}'
LINES = EVENT + b'\r\n{"user_id":"u","item_id":"j"}\r\n'
JSON = "application/json"

READ: dict[str, tuple[dict[str, str], bytes]] = {
    "requests json=": ({"content-type": JSON, "user-agent": "python-requests/2.32", "accept": "*/*"}, EVENT),
    "axios with an object": (
        {"content-type": JSON, "accept": "application/json, text/plain, */*", "user-agent": "axios/1.7"},
        EVENT,
    ),
    "Spring's RestTemplate": ({"content-type": "application/json;charset=UTF-8"}, EVENT),
    "Apache HttpClient": ({"content-type": "application/json; charset=UTF-8"}, EVENT),
    "C# StringContent": ({"content-type": "application/json; charset=utf-8"}, EVENT),
    "C# with a byte order mark": ({"content-type": "application/json; charset=utf-8"}, b"\xef\xbb\xbf" + EVENT),
    "Go's http.Post": ({"content-type": JSON, "user-agent": "Go-http-client/1.1", "accept-encoding": "gzip"}, EVENT),
    "Guzzle": ({"content-type": JSON, "user-agent": "GuzzleHttp/7"}, EVENT),
    "Vector's http sink": ({"content-type": "application/x-ndjson", "content-encoding": "gzip"}, gzip.compress(LINES)),
    "Fluent Bit json_lines": ({"content-type": "application/x-ndjson", "user-agent": "Fluent-Bit"}, LINES),
    "Windows line ends": ({"content-type": "application/x-ndjson"}, b"\xef\xbb\xbf" + LINES),
    "Benthos lines": ({"content-type": "application/jsonl"}, LINES),
    "an array over several lines": ({"content-type": JSON}, b"[\n  " + EVENT + b"\n]\n"),
    "PowerShell in UTF-8": ({"content-type": "application/json; charset=utf-8", "expect": "100-continue"}, EVENT),
}

REFUSED: dict[str, tuple[dict[str, str], bytes, int, str]] = {
    "requests data=": ({"content-type": ""}, EVENT, 415, "requests sends it with json=, not with data="),
    "curl -d": ({"content-type": "application/x-www-form-urlencoded"}, EVENT, 415, "curl -d"),
    "axios with a string": ({"content-type": "application/x-www-form-urlencoded"}, EVENT, 415, "axios with a string"),
    "fetch with a string": (
        {"content-type": "text/plain;charset=UTF-8"},
        EVENT,
        415,
        "a Blob of type application/json",
    ),
    "requests files=": ({"content-type": "multipart/form-data; boundary=a"}, b"--a--", 415, "forms are not supported"),
    "Apache StringEntity": (
        {"content-type": "text/plain; charset=ISO-8859-1"},
        EVENT,
        415,
        "ISO-8859-1 is not supported",
    ),
    "undeclared Latin-1": ({"content-type": JSON}, '{"user_id":"é"}'.encode("latin-1"), 400, "byte 0xe9"),
    "PowerShell's Out-File": ({"content-type": JSON}, EVENT.decode().encode("utf-16"), 400, "the body is UTF-16"),
    "undeclared gzip": ({"content-type": JSON}, gzip.compress(EVENT), 400, "Content-Encoding: gzip"),
    "lines called JSON": ({"content-type": JSON}, LINES, 400, "one value per line as application/x-ndjson"),
    "json.dumps of NaN": ({"content-type": JSON}, b'{"user_id":"u","value":NaN}', 400, "NaN is not a JSON value"),
    "str of a dict": ({"content-type": JSON}, b"{'user_id': 'u'}", 400, "expected a string key"),
    "JSON in JSON": ({"content-type": JSON}, orjson.dumps(EVENT.decode()), 422, "must be a JSON object"),
    "PHP's empty array": ({"content-type": JSON}, EVENT[:-1] + b',"context":[]}', 422, "an empty one is {}"),
    "JavaScript's Date.now()": ({"content-type": JSON}, EVENT[:-1] + b',"timestamp":1732600000000}', 422, "not milli"),
    "Python's isoformat()": ({"content-type": JSON}, EVENT[:-1] + b',"timestamp":"2025-11-20T08:30:00"}', 422, "zone"),
    "Segment's track": (
        {"content-type": JSON},
        b'{"anonymousId":"u","event":"Viewed","properties":{"sku":"i"},"messageId":"m","type":"track"}',
        422,
        "anonymousId, messageId, properties: no such field; did you mean user_id, event_id, context?",
    ),
    "GA4's measurement protocol": (
        {"content-type": JSON},
        b'{"client_id":"u","events":[{"name":"view_item","params":{}}]}',
        422,
        "client_id: no such field",
    ),
    "Shopify's webhook": (
        {"content-type": JSON},
        b'{"id":820982911946154508,"email":"jon@example.com","line_items":[{"product_id":1}]}',
        422,
        "id: no such field; did you mean item_id?",
    ),
    "Snowplow's payload": (
        {"content-type": JSON},
        b'{"schema":"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4","data":[{"e":"pv"}]}',
        422,
        "data: no such field; did you mean events?",
    ),
}


@pytest.mark.parametrize("name", READ)
async def test_what_clients_send_is_accepted(gateway: Gateway, name: str) -> None:
    headers, body = READ[name]
    answer = await gateway.client.post("/events", content=body, headers=headers)
    assert (answer.status_code, answer.json()["rejected"]) == (202, []), answer.text


@pytest.mark.parametrize("name", REFUSED)
async def test_other_requests_are_refused_with_a_remedy(gateway: Gateway, name: str) -> None:
    headers, body, status, said = REFUSED[name]
    answer = await gateway.client.post("/events", content=body, headers=headers)
    assert answer.status_code == status
    assert said in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (
            "/items",
            {"item_id": "i", "title": "t", "description": None, "genres": None, "tags": None, "attributes": None},
        ),
        (
            "/events",
            {"user_id": "u", "item_id": "i", "event_id": None, "timestamp": None, "value": None, "context": None},
        ),
        ("/recommend", {"user_id": "u", "candidates": None, "k": None, "exclude_seen": None, "explain": None}),
        (
            "/recommend",
            {"user_id": "u", "filters": {"genres": None, "tags": None, "attributes": None}, "context": None},
        ),
        ("/recommend", {"user_id": "u", "candidates": [{"item_id": "i", "title": None, "genres": None, "tags": None}]}),
    ],
)
async def test_null_means_not_set(gateway: Gateway, path: str, body: dict[str, Any]) -> None:
    """Serializers of Java, Go and C# write it."""
    answer = await gateway.ask("POST", path, body)
    assert answer.status_code in {200, 202}, answer.text


async def test_a_null_type_is_not_a_click(gateway: Gateway) -> None:
    problem = (await gateway.ask("POST", "/events", {"user_id": "u", "item_id": "i", "type": None})).json()
    assert (problem["field"], problem["rejected"][0]["detail"]) == ("type", "type: must be a string, not null")


async def test_null_in_a_candidate_keeps_the_text_of_the_catalogue(gateway: Gateway) -> None:
    await gateway.ask("POST", "/items", {"item_id": "i", "title": "t", "genres": ["jazz"]})
    candidate = {"item_id": "i", "title": None, "description": None, "genres": None, "tags": None, "attributes": None}
    ask = {"user_id": "u", "candidates": [candidate], "filters": {"genres": ["jazz"]}}
    answer = (await gateway.ask("POST", "/recommend", ask)).json()
    assert [item["item_id"] for item in answer["items"]] == ["i"]
