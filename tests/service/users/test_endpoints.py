"""Guarantees of `/users`."""

import pytest

from tests.service.conftest import Gateway


async def test_an_unknown_user_is_empty(gateway: Gateway) -> None:
    answer = await gateway.ask("GET", "/users/stranger")
    assert answer.status_code == 200
    assert answer.json() == {"user_id": "stranger", "summary": None, "recents": [], "pending_events": 0, "history": []}


async def test_recents_are_shown_oldest_first(gateway: Gateway) -> None:
    events = [
        {"user_id": "a/b", "item_id": "i1", "timestamp": 1, "value": 4.5},
        {"user_id": "a/b", "item_id": "i2", "type": "like", "timestamp": "2026-01-01T00:00:00Z"},
    ]
    await gateway.ask("POST", "/events", events)
    answer = (await gateway.ask("GET", "/users/a%2Fb")).json()
    assert answer == {
        "user_id": "a/b",
        "summary": None,
        "recents": [
            {"item_id": "i1", "type": "click", "timestamp": "1970-01-01T00:00:01.000Z", "value": 4.5},
            {"item_id": "i2", "type": "like", "timestamp": "2026-01-01T00:00:00.000Z", "value": None},
        ],
        "pending_events": 2,
        "history": [],
    }


async def test_the_summary_is_shown_with_its_author_and_the_events_it_came_from(gateway: Gateway) -> None:
    work = gateway.store.summaries
    for first in range(0, 15, 3):
        names = [f"e{number}" for number in range(first, first + 3)]
        await gateway.ask("POST", "/events", [{"event_id": name, "user_id": "u", "item_id": "i"} for name in names])
        (claim,) = await work.claim(1)
        await work.commit(claim, f"likes tea {first}", f"writer@{first}", "prompt", 3)
    answer = (await gateway.ask("GET", "/users/u")).json()
    assert answer["summary"].pop("updated_at").endswith("Z")
    assert answer["summary"] == {"text": "likes tea 12", "version": 5, "model": "writer@12", "events": 15}
    assert answer["pending_events"] == 0
    assert all(version.pop("updated_at").endswith("Z") for version in answer["history"])
    assert answer["history"] == [
        {"version": 5, "model": "writer@12", "event_ids": ["e12", "e13", "e14"]},
        {"version": 4, "model": "writer@9", "event_ids": ["e9", "e10", "e11"]},
        {"version": 3, "model": "writer@6", "event_ids": ["e6", "e7", "e8"]},
    ]


async def test_deleting_a_user_succeeds_even_if_there_is_none(gateway: Gateway) -> None:
    await gateway.ask("POST", "/events", {"user_id": "u", "item_id": "i"})
    assert (await gateway.ask("DELETE", "/users/u")).status_code == 204
    assert (await gateway.ask("GET", "/users/u")).json()["recents"] == []
    assert (await gateway.ask("DELETE", "/users/u")).status_code == 204
    again = await gateway.ask("POST", "/events", {"user_id": "u", "item_id": "i"})
    assert again.json()["accepted"] == 1


@pytest.mark.parametrize("path", ["a%00", "%ff", "x" * 257])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_path_that_is_no_id_is_a_422(gateway: Gateway, method: str, path: str) -> None:
    answer = await gateway.ask(method, f"/users/{path}")
    assert (answer.status_code, answer.json()["field"]) == (422, "user_id")
