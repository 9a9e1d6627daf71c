"""Guarantees of CloudEvents 1.0: the official SDK's output is understood, invalid events are refused by name."""

import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from cloudevents.core.bindings.http import HTTPMessage, to_binary_event, to_structured_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from service.errors import TastestreamError
from service.events.cloudevents import binary_attributes, identity, read_cloud_event
from tests.service.conftest import Gateway, OpenGateway
from tests.service.serving import serving

DATA: dict[str, Any] = {"user_id": "u", "item_id": "i"}
TIME = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
ENVELOPE: dict[str, Any] = {
    "specversion": "1.0",
    "id": "1",
    "source": "/shop",
    "type": "com.example.like",
    "data": DATA,
}


def read(envelope: Any) -> Any:
    return read_cloud_event(envelope, 64 * 1024)


def made(id: str = "1", data: Any = DATA, **attributes: Any) -> CloudEvent:  # noqa: A002
    given = {"id": id, "source": "/shop/ü", "type": "com.example.shop.like", "time": TIME, **attributes}
    return CloudEvent(given, data)


def batched(*events: CloudEvent) -> HTTPMessage:
    body = b"[%s]" % b",".join(JSONFormat().write(event) for event in events)
    return HTTPMessage({"content-type": "application/cloudevents-batch+json"}, body)


MODES: dict[str, Callable[[CloudEvent], HTTPMessage]] = {
    "structured": to_structured_event,
    "binary": to_binary_event,
    "batched": batched,
}


@pytest.fixture
async def http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the gateway over a socket."""
    async with serving(gateway.app, lifespan="off") as url, httpx.AsyncClient(base_url=url) as client:
        yield client


async def post(http: httpx.AsyncClient, message: HTTPMessage) -> httpx.Response:
    return await http.post("/events?results=true", content=message.body, headers=message.headers)


class TestBySdk:
    @pytest.mark.parametrize("mode", MODES)
    async def test_every_mode_brings_the_whole_event(self, http: httpx.AsyncClient, mode: str) -> None:
        data = {**DATA, "value": 2.5, "recommendation_id": "r", "context": {"page": "ü"}}
        answer = await post(http, MODES[mode](made("no. 1", data, myextension="x", subject="someone else")))
        assert answer.status_code == 202, answer.text
        assert answer.json()["results"] == [
            {"index": 0, "event_id": "ce:/shop/ü no. 1", "outcome": "accepted", "code": None, "note": "unknown_item"}
        ]
        (event,) = (await http.get("/users/u")).json()["recents"]
        assert (event["item_id"], event["type"], event["value"]) == ("i", "like", 2.5)
        assert event["timestamp"] == "2026-03-01T12:00:00.250Z"

    async def test_the_same_source_and_id_are_a_duplicate_whatever_the_mode_and_the_data(
        self, http: httpx.AsyncClient
    ) -> None:
        await post(http, to_binary_event(made()))
        for mode in MODES.values():
            answer = await post(http, mode(made(data={**DATA, "item_id": "other"})))
            assert (answer.json()["accepted"], answer.json()["duplicates"]) == (0, 1)

    @pytest.mark.parametrize("other", [{"id": "2"}, {"source": "/shop/u"}])
    async def test_another_source_or_id_is_another_event(self, http: httpx.AsyncClient, other: dict[str, str]) -> None:
        for event in (made(), made(**other)):
            assert (await post(http, to_structured_event(event))).json()["accepted"] == 1

    async def test_bytes_are_read_as_json(self, http: httpx.AsyncClient) -> None:
        data = json.dumps(DATA).encode()
        for mode in (to_structured_event, batched):
            message = mode(made(mode.__name__, data, datacontenttype="application/json"))
            assert b"data_base64" in message.body
            assert (await post(http, message)).json()["accepted"] == 1

    @pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/vnd.shop.v1+json", "text/json"])
    @pytest.mark.parametrize("mode", MODES)
    async def test_every_json_content_type_is_understood(self, http: httpx.AsyncClient, mode: str, kind: str) -> None:
        assert (await post(http, MODES[mode](made(datacontenttype=kind)))).json()["accepted"] == 1

    async def test_each_event_of_a_batch_is_checked_by_itself(self, http: httpx.AsyncClient) -> None:
        message = batched(made("1"), made("2", {"user_id": "u"}), made("3", type="com.example.Like"), made("4"))
        answer = (await post(http, message)).json()
        assert answer["accepted"] == 2
        assert [(one["index"], one["field"]) for one in answer["rejected"]] == [(1, "item_id"), (2, "type")]

    async def test_an_empty_batch_is_accepted_as_the_specification_allows(self, http: httpx.AsyncClient) -> None:
        answer = await http.post("/events", content=batched().body, headers=batched().headers)
        assert (answer.status_code, answer.json()) == (202, {"accepted": 0, "duplicates": 0, "rejected": []})


class TestEnvelope:
    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"specversion": "0.3"}, "specversion"),
            ({"specversion": None}, "specversion"),
            ({"specversion": 1.0}, "specversion"),
            ({"id": ""}, "id"),
            ({"id": 7}, "id"),
            ({"id": "a\nb"}, "id"),
            ({"source": ""}, "source"),
            ({"source": "/a b"}, "source"),
            ({"type": None}, "type"),
            ({"type": "com.example."}, "type"),
            ({"type": "com.example.Like"}, "type"),
            ({"type": "com.example." + "x" * 33}, "type"),
            ({"time": "yesterday"}, "time"),
            ({"time": 1_700_000_000}, "time"),
            ({"time": "2999-01-01T00:00:00Z"}, "time"),
            ({"datacontenttype": "text/xml"}, "datacontenttype"),
            ({"datacontenttype": "application/json; charset=latin-1"}, "datacontenttype"),
            ({"data": None}, "data"),
            ({"data": "text"}, "data"),
            ({"data": {**DATA, "event_id": "mine"}}, "data.event_id"),
            ({"data_base64": "e30="}, "data_base64"),
            ({"data": None, "data_base64": "!"}, "data_base64"),
            ({"data": None, "data_base64": "é"}, "data_base64"),
            ({"data": None, "data_base64": b64encode(b"{").decode()}, "data_base64"),
            ({"data": None, "data_base64": b64encode(b"[]").decode()}, "data_base64"),
        ],
    )
    def test_what_is_wrong_is_refused_by_name(self, change: dict[str, Any], field: str) -> None:
        error = read({**ENVELOPE, **change})
        assert isinstance(error, TastestreamError)
        assert error.field == field
        assert field in error.detail

    @pytest.mark.parametrize("missing", ["specversion", "id", "source", "type", "data"])
    def test_a_missing_attribute_is_named(self, missing: str) -> None:
        error = read({name: value for name, value in ENVELOPE.items() if name != missing})
        assert error.field == missing

    @pytest.mark.parametrize("value", [None, 3, "text", [ENVELOPE]])
    def test_what_is_no_object_is_refused(self, value: Any) -> None:
        assert read(value).detail == "must be a JSON object"

    def test_unset_attributes_and_unknown_extensions_do_not_matter(self) -> None:
        more = {"time": None, "subject": None, "datacontenttype": None, "data_base64": None, "ext1": {"a": [1]}}
        assert read({**ENVELOPE, **more}) == read(ENVELOPE)

    def test_what_the_data_says_of_type_and_time_wins(self) -> None:
        data = {**DATA, "type": "view", "timestamp": 5}
        event = read({**ENVELOPE, "time": "2026-03-01T12:00:00Z", "data": data})
        assert (event["type"], event["timestamp"]) == ("view", 5)

    def test_the_subject_is_ignored(self) -> None:
        assert "user_id" not in read({**ENVELOPE, "subject": "u", "data": {"item_id": "i"}})


@pytest.mark.parametrize(
    ("cloud_type", "kind"),
    [
        ("like", "like"),
        ("com.example.like", "like"),
        ("com.example.like.v1", "like"),
        ("com.example.like.V2", "like"),
        ("com.example.like.v1.2.3", "like"),
        ("com.example.like.1.0", "like"),
        ("com.example.like.v1beta1", "like"),
        ("com.example.like.v2-rc1", "like"),
        ("com.example.v1.like", "like"),
        ("com.example.add_to_cart.v1", "add_to_cart"),
        ("com.example.vote", "vote"),
        ("com.example.v1vote", "v1vote"),
        ("v1", "v1"),
    ],
)
def test_a_version_at_the_end_of_a_type_is_no_part_of_it(cloud_type: str, kind: str) -> None:
    assert read({**ENVELOPE, "type": cloud_type})["type"] == kind


class TestEmptyAnswers:
    """Some brokers treat a body as an error, or as another event."""

    async def test_what_was_taken_in_binary_mode_is_a_204(self, http: httpx.AsyncClient) -> None:
        for _ in ("accepted", "duplicate"):
            message = to_binary_event(made())
            answer = await http.post("/events", content=message.body, headers=message.headers)
            assert (answer.status_code, answer.content) == (204, b"")
        (event,) = (await http.get("/users/u")).json()["recents"]
        assert event["type"] == "like"

    async def test_what_was_not_taken_is_an_error_with_a_body(self, http: httpx.AsyncClient) -> None:
        message = to_binary_event(made(data={"user_id": "u"}))
        answer = await http.post("/events", content=message.body, headers=message.headers)
        assert (answer.status_code, answer.json()["field"]) == (422, "item_id")

    async def test_a_caller_that_prefers_a_body_gets_one(self, http: httpx.AsyncClient) -> None:
        message = to_binary_event(made())
        headers = {**message.headers, "prefer": "return=representation"}
        answer = await http.post("/events", content=message.body, headers=headers)
        assert (answer.status_code, answer.json()["accepted"]) == (202, 1)

    @pytest.mark.parametrize("prefer", ["return=minimal", 'respond-async, Return="minimal"; foo=bar'])
    @pytest.mark.parametrize("mode", ["structured", "batched"])
    async def test_every_form_can_ask_for_it(self, http: httpx.AsyncClient, mode: str, prefer: str) -> None:
        message = MODES[mode](made())
        answer = await http.post("/events", content=message.body, headers={**message.headers, "prefer": prefer})
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["preference-applied"] == "return=minimal"

    async def test_json_and_lines_can_ask_for_it(self, gateway: Gateway) -> None:
        for kind in ("application/json", "application/x-ndjson"):
            headers = {"content-type": kind, "prefer": "return=minimal"}
            answer = await gateway.client.post("/events", content=json.dumps(DATA), headers=headers)
            assert (answer.status_code, answer.content) == (204, b"")

    async def test_rejections_are_returned_nevertheless(self, gateway: Gateway) -> None:
        headers = {"prefer": "return=minimal"}
        answer = await gateway.ask("POST", "/events", [DATA, {"user_id": "u"}], headers=headers)
        assert (answer.status_code, len(answer.json()["rejected"])) == (202, 1)
        assert "preference-applied" not in answer.headers


class TestHandshake:
    """A broker asks before it delivers (HTTP 1.1 Web Hooks for Event Delivery)."""

    async def ask(self, gateway: Gateway, origin: str, **headers: str) -> httpx.Response:
        given = {"webhook-request-origin": origin, **headers}
        return await gateway.client.request("OPTIONS", "/events", headers=given)

    @pytest.mark.parametrize("origins", [("Eventgrid.azure.net",), ("other.example", "eventgrid.azure.net"), ("*",)])
    async def test_a_known_broker_may_deliver(self, open_gateway: OpenGateway, origins: tuple[str, ...]) -> None:
        async with open_gateway(webhook_origins=origins) as gateway:
            answer = await self.ask(gateway, "eventgrid.azure.net", **{"webhook-request-rate": "120"})
        assert answer.status_code == 200
        assert answer.headers["webhook-allowed-origin"] == "eventgrid.azure.net"
        assert answer.headers["webhook-allowed-rate"] == "*"
        assert "POST" in answer.headers["allow"]

    async def test_a_rate_can_be_set(self, open_gateway: OpenGateway) -> None:
        async with open_gateway(webhook_origins=("*",), webhook_rate=100) as gateway:
            assert (await self.ask(gateway, "a.example")).headers["webhook-allowed-rate"] == "100"

    @pytest.mark.parametrize("origin", ["", "evil.example", "eventgrid.azure.net.evil.example", "x" * 5000])
    async def test_another_one_gets_no_permission(self, open_gateway: OpenGateway, origin: str) -> None:
        async with open_gateway(webhook_origins=("eventgrid.azure.net",)) as gateway:
            answer = await self.ask(gateway, origin)
        assert answer.status_code == 200
        assert "webhook-allowed-origin" not in answer.headers

    async def test_no_broker_has_it_by_default(self, gateway: Gateway) -> None:
        assert "webhook-allowed-origin" not in (await self.ask(gateway, "a.example")).headers

    async def test_it_needs_no_key_and_a_delivery_does(self, open_gateway: OpenGateway, tmp_path: Path) -> None:
        (tmp_path / "keys").write_text("secret\n")
        async with open_gateway(api_keys_file=tmp_path / "keys", webhook_origins=("a.example",)) as gateway:
            assert (await self.ask(gateway, "a.example")).headers["webhook-allowed-origin"] == "a.example"
            assert (await gateway.ask("POST", "/events", DATA)).status_code == 401
            assert (await gateway.client.request("OPTIONS", "/users/u")).status_code == 405


class TestBinaryMode:
    async def test_without_a_content_type_it_is_json_as_the_sdk_sends_it(self, gateway: Gateway) -> None:
        message = to_binary_event(made())
        assert "content-type" not in {name.lower() for name in message.headers}
        async with serving(gateway.app, lifespan="off") as url, httpx.AsyncClient(base_url=url) as client:
            answer = await client.post("/events", content=message.body, headers=message.headers)
        assert answer.status_code == 204

    def test_header_values_are_unquoted_and_percent_decoded_once(self) -> None:
        headers = [
            (b"ce-id", b"Euro%20%E2%82%AC%20%f0%9f%98%80"),
            (b"ce-source", b'"/a\\"b%2541"'),
            (b"content-type", b"application/json"),
        ]
        assert binary_attributes(headers) == {"id": "Euro € 😀", "source": '/a"b%41'}

    def test_headers_without_a_required_attribute_make_no_cloudevent(self) -> None:
        assert binary_attributes([(b"ce-traceparent", b"1"), (b"content-type", b"application/json")]) is None

    @pytest.mark.parametrize("value", [b"%C0%A0", b"%ff", b"\xff"])
    async def test_what_is_not_utf8_is_refused_by_name(self, gateway: Gateway, value: bytes) -> None:
        headers = [(b"ce-id", value), (b"ce-source", b"/"), (b"ce-type", b"a.like"), (b"ce-specversion", b"1.0")]
        answer = await gateway.client.post("/events", json=DATA, headers=headers)
        assert (answer.status_code, answer.json()["field"]) == (422, "ce-id")

    async def test_an_attribute_given_twice_is_refused_by_name(self, gateway: Gateway) -> None:
        headers = [("ce-id", "1"), ("ce-id", "2")]
        answer = await gateway.client.post("/events", json=DATA, headers=headers)
        assert (answer.status_code, answer.json()["field"]) == (422, "ce-id")

    async def test_a_missing_attribute_is_named(self, gateway: Gateway) -> None:
        answer = await gateway.client.post("/events", json=DATA, headers={"ce-id": "1", "ce-type": "like"})
        assert (answer.status_code, answer.json()["field"]) == (422, "specversion")

    @pytest.mark.parametrize("kind", ["text/xml", "application/cloudevents+avro", "application/octet-stream"])
    async def test_data_that_is_no_json_is_a_415(self, gateway: Gateway, kind: str) -> None:
        headers = {**to_binary_event(made()).headers, "content-type": kind}
        answer = await gateway.client.post("/events", content=b"{}", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media")


printable = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=300)


@given(st.lists(st.tuples(printable.map(lambda text: "".join(text.split()) or "/"), printable), unique=True))
def test_no_two_pairs_of_source_and_id_make_the_same_event_id(pairs: list[tuple[str, str]]) -> None:
    assert len({identity(*pair) for pair in pairs}) == len(pairs)
    assert all(len(identity(*pair)) <= 256 for pair in pairs)


@pytest.mark.parametrize(("one", "other"), [(("a", "b c"), ("a b", "c")), (("/a", "x"), ("/", "a x"))])
def test_the_border_between_source_and_id_counts(one: tuple[str, str], other: tuple[str, str]) -> None:
    """Of each two, only one is valid, or they differ."""
    ids = {identity(source, id_) for source, id_ in (one, other) if " " not in source}
    valid = [source for source, _ in (one, other) if " " not in source]
    assert len(ids) == len(valid)


def test_an_identity_is_readable_as_long_as_it_fits() -> None:
    assert identity("/shop", "8f14") == "ce:/shop 8f14"
    assert identity("/shop", "8" * 300).startswith("ce-digest:")
