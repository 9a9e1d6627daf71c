"""Promises of ids: they are kept exactly as sent, and clients' words for a missing id are refused."""

from typing import Any

import pytest

from service.http.ids import means_nothing
from tests.service.conftest import Gateway

EVENT = {"user_id": "u", "item_id": "i"}
ITEM = {"item_id": "i", "title": "t"}

NOTHING = [
    *(
        "null",
        "NULL",
        "Null",
        "undefined",
        "None",
        "none",
        "nil",
        "NaN",
        "nan",
        "[object Object]",
        "(not set)",
        "(null)",
    ),
    *("<null>", "<nil>", "<no value>", "00000000-0000-0000-0000-000000000000"),
    *("{{user.id}}", "{{ userId }}", "${userId}", "<%= id %>", "%%USER_ID%%"),
]
KEPT = [
    "نیم‌فاصله",  # with the joiner between two words
    "क्‍ष",
    "👩‍💻",
    "\u00e9",
    "e\u0301",
    " a ",
    "0",
    "-1",
    "nullable",
    "Nonesuch",
    "{a}",
    "$5",
    "%",
    "0123",
    "ﬁ",
    "I\u0307",
]


@pytest.mark.parametrize("given", NOTHING)
def test_a_clients_word_for_nothing_means_nothing(given: str) -> None:
    assert means_nothing(given)


@pytest.mark.parametrize("given", NOTHING[:3] + NOTHING[-1:])
@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/events", EVENT, "user_id"),
        ("POST", "/events", EVENT, "item_id"),
        ("POST", "/events", EVENT, "event_id"),
        ("POST", "/items", ITEM, "item_id"),
        ("POST", "/recommend", {}, "user_id"),
    ],
)
async def test_it_is_refused_as_an_id(
    gateway: Gateway, method: str, path: str, body: dict[str, Any], field: str, given: str
) -> None:
    answer = await gateway.ask(method, path, {**body, field: given})
    problem = answer.json()
    assert (answer.status_code, problem["field"]) == (422, field)
    assert f"{field}: a word for a missing id (null, undefined, {{{{...}}}}); send a real id" in problem["detail"]


async def test_it_is_refused_in_a_path_but_items_stored_under_it_can_be_read_and_deleted(gateway: Gateway) -> None:
    for path in ("/items/undefined", "/items/%7B%7Bid%7D%7D", "/items/%20"):
        assert (await gateway.ask("PUT", path, {"title": "t"})).json()["field"] == "item_id"
        assert (await gateway.ask("GET", path)).status_code == 404
    assert (await gateway.ask("DELETE", "/users/undefined")).status_code == 204


async def test_it_is_refused_as_the_id_of_a_cloudevent(gateway: Gateway) -> None:
    """All such events would be duplicates of the first."""
    envelope = {"specversion": "1.0", "id": "undefined", "source": "/s", "type": "like", "data": EVENT}
    headers = {"content-type": "application/cloudevents+json"}
    assert (await gateway.ask("POST", "/events", envelope, headers=headers)).json()["field"] == "id"


async def test_an_event_without_a_user_does_not_affect_the_others(gateway: Gateway) -> None:
    answer = (await gateway.ask("POST", "/events", [EVENT, {**EVENT, "user_id": "undefined"}])).json()
    assert (answer["accepted"], [one["field"] for one in answer["rejected"]]) == (1, ["user_id"])


@pytest.mark.parametrize("blank", [" ", "\u00a0", "\u3000 "])
async def test_a_blank_id_is_refused(gateway: Gateway, blank: str) -> None:
    problem = (await gateway.ask("POST", "/events", {**EVENT, "item_id": blank})).json()
    assert problem["field"] == "item_id"
    assert "or be blank" in problem["detail"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (7, "must be a string; put the number in quotes"),
        (7.5, "must be a string; put the number in quotes"),
        (2**63, "must be a string; put the number in quotes"),
        (None, "must be a string, not null"),
        (True, "must be a string"),
        ({"id": 7}, "must be a string"),
    ],
)
async def test_an_id_that_is_not_a_string_is_refused_with_a_remedy(gateway: Gateway, given: Any, said: str) -> None:
    problem = (await gateway.ask("POST", "/events", {**EVENT, "user_id": given})).json()
    assert (problem["field"], problem["rejected"][0]["detail"]) == ("user_id", f"user_id: {said}")


async def test_ids_are_kept_and_compared_exactly_as_sent(gateway: Gateway) -> None:
    for number, given in enumerate(KEPT):
        body = {"item_id": given, "title": f"{number} {given}"}
        assert (await gateway.ask("POST", "/items", body)).status_code == 202, given
        assert (await gateway.ask("POST", "/events", {"user_id": given, "item_id": given})).status_code == 202
    page = (await gateway.ask("GET", "/items?limit=100")).json()["items"]
    assert {item["item_id"]: item["title"] for item in page} == {one: f"{n} {one}" for n, one in enumerate(KEPT)}
    for given in KEPT:
        path = "".join(f"%{byte:02X}" for byte in given.encode())
        (event,) = (await gateway.ask("GET", f"/users/{path}")).json()["recents"]
        assert event["item_id"] == given
