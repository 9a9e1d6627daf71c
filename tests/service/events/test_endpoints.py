"""Promises of `POST /events`."""

from collections.abc import AsyncIterator

import orjson
import pytest

from service.settings import LimitSettings, StateSettings
from tests.service.conftest import Gateway, OpenGateway

ONE = {"user_id": "u", "item_id": "i1", "timestamp": 1_700_000_000}
TWO = {**ONE, "item_id": "i2"}
NDJSON = {"content-type": "application/x-ndjson"}


async def recents(gateway: Gateway, user: str = "u") -> list[str]:
    answer = (await gateway.ask("GET", f"/users/{user}")).json()
    return [event["item_id"] for event in answer["recents"]]


@pytest.mark.parametrize("body", [[ONE, TWO], {"events": [ONE, TWO]}])
async def test_batches_are_accepted_in_order(gateway: Gateway, body: object) -> None:
    answer = await gateway.ask("POST", "/events", body)
    assert answer.status_code == 202
    assert answer.json() == {"accepted": 2, "duplicates": 0, "rejected": []}
    assert await recents(gateway) == ["i1", "i2"]


async def test_one_event_is_accepted(gateway: Gateway) -> None:
    assert (await gateway.ask("POST", "/events", ONE)).status_code == 202
    assert await recents(gateway) == ["i1"]


async def test_lines_are_accepted_and_a_bad_line_is_rejected_alone(gateway: Gateway) -> None:
    content = orjson.dumps(ONE) + b"\r\n\n{nonsense\n" + orjson.dumps(TWO)
    answer = await gateway.client.post("/events", content=content, headers=NDJSON)
    assert answer.status_code == 202
    body = answer.json()
    assert body["accepted"] == 2
    assert [(one["index"], one["code"]) for one in body["rejected"]] == [(1, "malformed_body")]
    assert await recents(gateway) == ["i1", "i2"]


async def test_lines_may_be_cut_anywhere_on_their_way(gateway: Gateway) -> None:
    content = b"\n".join(orjson.dumps({**ONE, "item_id": f"ü{number}"}) for number in range(5))

    async def bits() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 7):
            yield content[start : start + 7]

    answer = await gateway.client.post("/events", content=bits(), headers=NDJSON)
    assert answer.json()["accepted"] == 5


async def test_a_batch_sent_again_is_a_duplicate(gateway: Gateway) -> None:
    await gateway.ask("POST", "/events", [ONE, TWO])
    answer = await gateway.ask("POST", "/events", [ONE, TWO])
    assert answer.status_code == 202
    assert answer.json() == {"accepted": 0, "duplicates": 2, "rejected": []}
    assert (await gateway.ask("GET", "/users/u")).json()["pending_events"] == 2


async def test_good_events_are_kept_beside_bad_ones(gateway: Gateway) -> None:
    answer = await gateway.ask("POST", "/events", [ONE, {**TWO, "colour": 1}, TWO])
    assert answer.status_code == 202
    assert answer.json() == {
        "accepted": 2,
        "duplicates": 0,
        "rejected": [{"index": 1, "code": "invalid_request", "detail": "colour: no such field", "field": "colour"}],
    }


async def test_nothing_acceptable_is_a_422_that_lists_why(gateway: Gateway) -> None:
    answer = await gateway.ask("POST", "/events", [{**ONE, "colour": 1}, {"user_id": "u"}])
    problem = answer.json()
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert (problem["code"], problem["field"]) == ("invalid_request", "colour")
    assert [rejection["field"] for rejection in problem["rejected"]] == ["colour", "item_id"]


@pytest.mark.parametrize("body", [[], {"events": []}, {"events": {}}, {"events": [ONE], "user_id": "u"}, 3, None])
async def test_what_is_no_batch_is_a_422(gateway: Gateway, body: object) -> None:
    answer = await gateway.client.post("/events", content=orjson.dumps(body))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"a":NaN}', b"[1,]", b'"\\ud800"'])
async def test_what_is_no_json_is_a_400(gateway: Gateway, content: bytes) -> None:
    answer = await gateway.client.post("/events", content=content)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_body")


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "text/plain"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
async def test_another_content_type_is_a_415(gateway: Gateway, headers: dict[str, str]) -> None:
    answer = await gateway.client.post("/events", content=orjson.dumps(ONE), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media")


@pytest.mark.parametrize("lines", [False, True])
async def test_a_batch_beyond_the_limit_is_refused_whole(open_gateway: OpenGateway, lines: bool) -> None:
    async with open_gateway(limits=LimitSettings(batch_events=3)) as gateway:
        events = [{**ONE, "item_id": f"i{number}"} for number in range(4)]
        if lines:
            content = b"\n".join(map(orjson.dumps, events))
            answer = await gateway.client.post("/events", content=content, headers=NDJSON)
        else:
            answer = await gateway.ask("POST", "/events", events)
        problem = answer.json()
        assert (answer.status_code, problem["code"], problem["field"]) == (413, "batch_too_large", "events")
        assert await recents(gateway) == []


async def test_lines_beyond_the_limit_are_not_read(open_gateway: OpenGateway) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield orjson.dumps(ONE) + b"\n"

    async with open_gateway(limits=LimitSettings(batch_events=3)) as gateway:
        answer = await gateway.client.post("/events", content=endless(), headers=NDJSON)
        assert (answer.status_code, answer.json()["code"]) == (413, "batch_too_large")
        assert sent < 10


async def test_a_batch_of_a_thousand_is_accepted(gateway: Gateway) -> None:
    events = [{**ONE, "user_id": f"u{number % 7}", "item_id": f"i{number}"} for number in range(1000)]
    assert (await gateway.ask("POST", "/events", events)).json()["accepted"] == 1000
    assert (await gateway.ask("POST", "/events", [*events, ONE])).status_code == 413


async def test_a_full_backlog_is_a_429_that_says_when_to_come_back(open_gateway: OpenGateway) -> None:
    async with open_gateway(state=StateSettings(max_pending=2)) as gateway:
        events = [{**ONE, "item_id": f"i{number}"} for number in range(3)]
        partly = await gateway.ask("POST", "/events", events)
        assert partly.status_code == 202
        assert [one["code"] for one in partly.json()["rejected"]] == ["backlog_full"]
        refused = await gateway.ask("POST", "/events", events[2])
        assert (refused.status_code, refused.json()["code"]) == (429, "backlog_full")
        assert int(refused.headers["retry-after"]) > 0
        assert gateway.count("tastestream_events_total", result="backlog_full") == 2


async def test_an_event_of_an_item_nobody_knows_is_accepted(gateway: Gateway) -> None:
    assert (await gateway.ask("POST", "/events", {"user_id": "u", "item_id": "unheard of"})).status_code == 202


async def test_events_are_counted_by_result(gateway: Gateway) -> None:
    await gateway.ask("POST", "/events", [ONE, ONE, {"user_id": "u"}])
    results = ("accepted", "duplicate", "rejected")
    assert [gateway.count("tastestream_events_total", result=result) for result in results] == [1, 1, 1]
