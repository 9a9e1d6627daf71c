"""Promises of hints: for the field names of other services, the error names ours."""

from typing import Any

import pytest

from tests.service.conftest import Gateway

TRACK = {"userId": "u", "event": "Product Viewed", "messageId": "m", "properties": {}, "originalTimestamp": "t"}


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/events", {"userId": "u", "itemId": "i"}, "itemId, userId: no such field; did you mean item_id, user_id?"),
        ("/events", {"user_id": "u", "productId": "i"}, "productId: no such field; did you mean item_id?"),
        ("/events", {"user-id": "u"}, "user-id: no such field; did you mean user_id?"),
        ("/events", {"USER_ID": "u"}, "USER_ID: no such field; did you mean user_id?"),
        (
            "/events",
            TRACK,
            "event, messageId, originalTimestamp, properties: no such field; did you mean type, event_id, "
            "timestamp, context?",
        ),
        ("/events", {"user_id": "u", "item_id": "i", "rating": 4}, "rating: no such field; did you mean value?"),
        ("/events", {"user_id": "u", "item_id": "i", "colour": 4}, "colour: no such field; the fields are context, "),
        ("/events", {"batch": [TRACK]}, "batch: no such field; did you mean events?"),
        ("/events", {"schema": "iglu:a/b", "data": [{}]}, "data: no such field; did you mean events?"),
        ("/items", {"products": [{}]}, "products: no such field; did you mean items?"),
        ("/items", {"id": "i", "name": "t"}, "id, name: no such field; did you mean item_id, title?"),
        ("/recommend", {"userId": "u", "limit": 3}, "limit, userId: no such field; did you mean k, user_id?"),
    ],
)
async def test_the_error_has_the_right_name(gateway: Gateway, path: str, body: dict[str, Any], said: str) -> None:
    answer = await gateway.ask("POST", path, body)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


async def test_a_given_field_is_not_proposed(gateway: Gateway) -> None:
    problem = (await gateway.ask("POST", "/recommend", {"user_id": "u", "userId": "v"})).json()
    assert problem["detail"].startswith("userId: no such field; the fields are ")


async def test_many_unknown_names_give_a_short_error(gateway: Gateway) -> None:
    body = {f"{'x' * 1000}{number}": 1 for number in range(1000)}
    answer = await gateway.ask("POST", "/recommend", body)
    assert (answer.status_code, len(answer.content) < 1000) == (422, True)
