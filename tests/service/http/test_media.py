"""Promises of content types: those of common clients are accepted, or refused with what to send instead."""

import orjson
import pytest

from tests.service.conftest import Gateway, OpenGateway

EVENT = {"user_id": "u", "item_id": "i"}
CALLS = {
    "/events": ("POST", EVENT),
    "/items": ("POST", {"item_id": "i", "title": "t"}),
    "/items/i": ("PUT", {"title": "t"}),
}


async def send(
    gateway: Gateway, kind: str, path: str = "/events", method: str = "POST", body: object = None
) -> tuple[int, str]:
    answer = await gateway.client.request(
        method, path, content=orjson.dumps(body or EVENT), headers={"content-type": kind}
    )
    return answer.status_code, answer.json().get("detail", "")


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        'application/json; charset="utf-8"',
        "application/json; charset=utf8",
        "application/json; charset=us-ascii",
        "application/json;",
        "application/json; charset=",
        "application/json; odata=verbose; charset=utf-8",
        'application/json; profile="https://example.com/a;b"',
        "Application/JSON",
        "text/json",
        "application/vnd.api+json",
        "application/x-ndjson; charset=utf-8",
        "application/jsonl",
        "application/x-jsonlines",
        "application/stream+json",
    ],
)
@pytest.mark.parametrize("path", ["/events", "/items"])
async def test_every_name_of_json_is_accepted(gateway: Gateway, path: str, kind: str) -> None:
    method, body = CALLS[path]
    assert (await send(gateway, kind, path, method, body))[0] == 202


@pytest.mark.parametrize("path", [*CALLS, "/recommend"])
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("", "the header Content-Type is missing; send Content-Type: application/json"),
        ("text/plain;charset=UTF-8", "text/plain is not supported; send the same with Content-Type: application/json"),
        (
            "application/x-www-form-urlencoded",
            "curl -d, PHP's CURLOPT_POSTFIELDS and axios with a string send a form unless the header is set",
        ),
        ("multipart/form-data; boundary=x", "forms are not supported"),
        ("text/csv", "one JSON object per line"),
        ("application/xml", "application/xml is not supported; send application/json"),
        ("application/octet-stream", "application/octet-stream is not supported; send"),
        ("application/json; charset=ISO-8859-1", "charset ISO-8859-1 is not supported; encode the body as UTF-8"),
        ("application/json; charset=utf-16", "charset utf-16 is not supported"),
        ("x" * 5000, "is not supported"),
    ],
)
async def test_every_other_one_is_a_415_that_says_what_to_send(
    gateway: Gateway, path: str, kind: str, said: str
) -> None:
    method, body = CALLS.get(path, ("POST", {"user_id": "u"}))
    status, detail = await send(gateway, kind, path, method, body)
    assert status == 415
    assert said in detail
    assert len(detail) < 300


async def test_a_web_page_can_not_write_without_a_preflight(gateway: Gateway) -> None:
    """What a browser sends to any host without a preflight: no content type, text, or a form."""
    for kind in ("", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert (await send(gateway, kind))[0] == 415
    assert (await gateway.ask("GET", "/users/u")).json()["recents"] == []


async def test_a_beacon_of_an_allowed_page_is_accepted(open_gateway: OpenGateway) -> None:
    async with open_gateway(cors_origins=("https://shop.example",)) as gateway:
        for origin, status in (("https://shop.example", 202), ("https://other.example", 415)):
            headers = {"content-type": "text/plain;charset=UTF-8", "origin": origin}
            answer = await gateway.client.post("/events", content=orjson.dumps(EVENT), headers=headers)
            assert answer.status_code == status
