"""Items, events and requests for recommendations, as callers of a gateway send them."""

from typing import Any

from service.state.keys import Keys
from tests.service.conftest import PATIENT, Gateway

ASK = {"user_id": "u", "candidates": ["tea", "pan", "hat"]}
KEYS = Keys(PATIENT.buckets)


async def fill(gateway: Gateway, *names: str) -> None:
    items = [{"item_id": name, "title": f"A {name}", "genres": [f"genre of {name}"]} for name in names]
    assert (await gateway.ask("POST", "/items", items)).json()["accepted"] == len(names)


async def send(gateway: Gateway, item: str, kind: str = "like", user: str = "u") -> None:
    assert (await gateway.ask("POST", "/events", {"user_id": user, "item_id": item, "type": kind})).status_code == 202


async def recommend(gateway: Gateway, **ask: Any) -> dict[str, Any]:
    answer = await gateway.ask("POST", "/recommend", {**ASK, **ask})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]
