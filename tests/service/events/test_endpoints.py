"""Guarantees of `POST /events`."""

import orjson
import pytest

from service.settings.limits import LimitSettings
from service.settings.state import StateSettings
from tests.service.conftest import Gateway, OpenGateway

ONE = {"user_id": "u", "item_id": "i1", "timestamp": 1_700_000_000}
TWO = {**ONE, "item_id": "i2"}


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


async def test_a_batch_sent_again_is_a_duplicate(gateway: Gateway) -> None:
    await gateway.ask("POST", "/events", [ONE, TWO])
    answer = await gateway.ask("POST", "/events", [ONE, TWO])
    assert answer.status_code == 202
    assert answer.json() == {"accepted": 0, "duplicates": 2, "rejected": []}
    assert (await gateway.ask("GET", "/users/u")).json()["pending_events"] == 2


async def test_valid_events_are_stored_and_invalid_ones_rejected(gateway: Gateway) -> None:
    answer = await gateway.ask("POST", "/events", [ONE, {**TWO, "colour": 1}, TWO])
    assert answer.status_code == 202
    assert answer.json() == {
        "accepted": 2,
        "duplicates": 0,
        "rejected": [
            {
                "index": 1,
                "code": "invalid_request",
                "detail": "colour: no such field; the fields are context, event_id, item_id, recommendation_id, "
                "timestamp, type, user_id, value",
                "field": "colour",
                "retryable": False,
            }
        ],
    }


@pytest.mark.parametrize("levels", [100, *range(246, 258)])
async def test_an_event_whose_context_is_nested_too_deeply_spoils_no_other(gateway: Gateway, levels: int) -> None:
    deep = b'{"user_id": "u", "item_id": "i", "context": {"a": ' + b"[" * levels + b"]" * levels + b"}}"
    answer = await gateway.ask("POST", "/events", content=b'[{"user_id": "u", "item_id": "j"},' + deep + b"]")
    assert answer.status_code == 202
    assert answer.json()["accepted"] + len(answer.json()["rejected"]) == 2


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
    ],
)
async def test_another_content_type_is_a_415(gateway: Gateway, headers: dict[str, str]) -> None:
    answer = await gateway.client.post("/events", content=orjson.dumps(ONE), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media")


async def test_a_batch_beyond_the_limit_is_refused_whole(open_gateway: OpenGateway) -> None:
    async with open_gateway(limits=LimitSettings(batch_events=3)) as gateway:
        answer = await gateway.ask("POST", "/events", [{**ONE, "item_id": f"i{number}"} for number in range(4)])
        problem = answer.json()
        assert (answer.status_code, problem["code"], problem["field"]) == (413, "batch_too_large", "events")
        assert await recents(gateway) == []


async def test_a_batch_of_a_thousand_is_accepted(gateway: Gateway) -> None:
    events = [{**ONE, "user_id": f"u{number % 7}", "item_id": f"i{number}"} for number in range(1000)]
    assert (await gateway.ask("POST", "/events", events)).json()["accepted"] == 1000
    assert (await gateway.ask("POST", "/events", [*events, ONE])).status_code == 413


async def test_a_full_backlog_is_a_429_that_says_when_to_retry(open_gateway: OpenGateway) -> None:
    async with open_gateway(state=StateSettings(max_pending=2)) as gateway:
        events = [{**ONE, "item_id": f"i{number}"} for number in range(3)]
        partly = await gateway.ask("POST", "/events", events)
        assert partly.status_code == 202
        assert [one["code"] for one in partly.json()["rejected"]] == ["backlog_full"]
        refused = await gateway.ask("POST", "/events", events[2])
        assert (refused.status_code, refused.json()["code"]) == (429, "backlog_full")
        assert int(refused.headers["retry-after"]) > 0
        assert gateway.count("tastestream_events_total", tenant="default", result="backlog_full") == 2


async def test_a_full_store_is_a_429_that_says_when_to_retry(open_gateway: OpenGateway) -> None:
    async with open_gateway(state=StateSettings(max_backlog=2, buckets=1)) as gateway:
        events = [{**ONE, "user_id": f"u{number}"} for number in range(3)]
        partly = await gateway.ask("POST", "/events", events)
        assert partly.status_code == 202
        assert [(one["index"], one["code"]) for one in partly.json()["rejected"]] == [(2, "overloaded")]
        refused = await gateway.ask("POST", "/events", events[2])
        assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")
        assert int(refused.headers["retry-after"]) > 0
        assert gateway.count("tastestream_events_total", tenant="default", result="overloaded") == 2


class TestResults:
    async def test_every_event_has_its_outcome_at_its_place(self, open_gateway: OpenGateway) -> None:
        async with open_gateway(state=StateSettings(max_pending=2)) as gateway:
            events = [{**ONE, "event_id": name} for name in ("a", "b", "a", "c")]
            answer = await gateway.ask("POST", "/events?results=true", [*events[:1], {"user_id": "u"}, *events[1:]])
        assert answer.status_code == 202
        outcomes = [tuple(one.values())[:4] for one in answer.json()["results"]]
        assert outcomes == [
            (0, "a", "accepted", None),
            (1, None, "rejected", "invalid_request"),
            (2, "b", "accepted", None),
            (3, "a", "duplicate", None),
            (4, "c", "rejected", "backlog_full"),
        ]

    async def test_a_derived_id_is_returned(self, gateway: Gateway) -> None:
        (result,) = (await gateway.ask("POST", "/events?results=1", ONE)).json()["results"]
        assert result["event_id"].startswith("content:")

    async def test_they_are_in_the_problem_when_nothing_was_acceptable(self, gateway: Gateway) -> None:
        answer = await gateway.ask("POST", "/events?results=true", {"user_id": "u"})
        assert answer.status_code == 422
        assert [one["outcome"] for one in answer.json()["results"]] == ["rejected"]

    async def test_without_asking_there_are_none(self, gateway: Gateway) -> None:
        assert "results" not in (await gateway.ask("POST", "/events?results=false", ONE)).json()

    async def test_an_unknown_value_is_refused_by_name(self, gateway: Gateway) -> None:
        for given in ("maybe", "", "True"):
            answer = await gateway.ask("POST", f"/events?results={given}", ONE)
            assert (answer.status_code, answer.json()["field"]) == (422, "results")


async def test_an_event_of_an_unknown_item_is_accepted(gateway: Gateway) -> None:
    assert (await gateway.ask("POST", "/events", {"user_id": "u", "item_id": "unheard of"})).status_code == 202


async def test_events_are_counted_by_result(gateway: Gateway) -> None:
    await gateway.ask("POST", "/events", [ONE, ONE, {"user_id": "u"}])
    results = ("accepted", "duplicate", "rejected")
    assert [gateway.count("tastestream_events_total", tenant="default", result=result) for result in results] == [
        1,
        1,
        1,
    ]
