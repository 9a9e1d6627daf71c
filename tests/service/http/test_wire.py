"""Promises of errors about fields: the full name, what the field must be, and no implementation details."""

from typing import Any

import pytest

from tests.service.conftest import Gateway

EVENT = {"user_id": "u", "item_id": "i"}
ITEM = {"title": "t"}
ASK = {"user_id": "u"}
CALLS = {"/events": ("POST", EVENT), "/items/i": ("PUT", ITEM), "/recommend": ("POST", ASK)}


@pytest.mark.parametrize(
    ("path", "change", "field", "said"),
    [
        ("/events", {"user_id": "a\x00"}, "user_id", "must not contain control characters"),
        ("/events", {"user_id": ""}, "user_id", "must have at least 1 character(s)"),
        ("/events", {"user_id": 3}, "user_id", "must be a string"),
        ("/events", {"item_id": "x" * 257}, "item_id", "must have at most 256 characters"),
        ("/events", {"type": "CLICK"}, "type", "must consist of lower-case letters, digits, '_', '.'"),
        ("/events", {"value": "3"}, "value", "must be a number"),
        ("/events", {"context": []}, "context", "must be an object"),
        ("/events", {"user": "u"}, "user", "no such field; the fields are context, event_id, item_id, "),
        ("/items/i", {"title": " "}, "title", "must not be blank"),
        ("/items/i", {"genres": "jazz"}, "genres", "must be an array"),
        ("/items/i", {"tags": [3]}, "tags.0", "must be a string"),
        ("/recommend", {"k": 0}, "k", "must be at least 1"),
        ("/recommend", {"k": 1.5}, "k", "must be a whole number"),
        ("/recommend", {"explain": "yes"}, "explain", "must be true or false"),
        ("/recommend", {"candidates": [3]}, "candidates.0", "must be an item id, or an object with item_id"),
        ("/recommend", {"candidates": ["i", {"item_id": "j", "tite": "t"}]}, "candidates.1.tite", "no such field"),
        ("/recommend", {"candidates": [{}]}, "candidates.0.item_id", "is missing"),
        ("/recommend", {"filters": []}, "filters", "must be an object"),
        ("/recommend", {"filters": {"attributes": {"a": {}}}}, "filters.attributes.a", "must be a string, a number"),
        ("/recommend", {"filters": {"attributes": {"a": [{}]}}}, "filters.attributes.a", "must be a string, a number"),
        ("/recommend", {"filters": {"genre": []}}, "filters.genre", "no such field"),
    ],
)
async def test_the_error_names_the_field_and_what_it_must_be(
    gateway: Gateway, path: str, change: dict[str, Any], field: str, said: str
) -> None:
    method, good = CALLS[path]
    answer = await gateway.ask(method, path, {**good, **change})
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["field"]) == (422, "invalid_request", field)
    assert f"{field}: {said}" in problem["detail"]


@pytest.mark.parametrize(
    ("path", "field", "said"),
    [
        ("/items?limit=0", "limit", "must be at least 1"),
        ("/items?limit=1001", "limit", "must be at most 1000"),
        ("/items?limit=x", "limit", "must be a whole number"),
        ("/users/a%00", "user_id", "must not contain control characters"),
        ("/users/%C0%AF", "user_id", "must be percent-encoded UTF-8"),
    ],
)
async def test_the_error_names_a_wrong_part_of_the_url(gateway: Gateway, path: str, field: str, said: str) -> None:
    problem = (await gateway.ask("GET", path)).json()
    assert (problem["status"], problem["field"], problem["detail"]) == (422, field, f"{field}: {said}")


@pytest.mark.parametrize("change", [{"specversion": "0.3"}, {"specversion": 1}])
async def test_a_cloudevent_of_another_version_is_refused_with_the_right_one(gateway: Gateway, change: Any) -> None:
    envelope = {"specversion": "1.0", "id": "1", "source": "/s", "type": "like", "data": EVENT, **change}
    headers = {"content-type": "application/cloudevents+json"}
    problem = (await gateway.ask("POST", "/events", envelope, headers=headers)).json()
    assert problem["detail"] == "nothing was acceptable; event 0: specversion: must be '1.0'"
