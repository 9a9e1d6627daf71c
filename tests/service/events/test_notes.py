"""Events of items that are not in the catalogue, and events that a recommendation led to."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, get_args

import pytest

from service.errors import StateUnavailable
from service.events import unknown_items
from service.events.unknown_items import UnknownItems
from service.recommend.receipts import UNKNOWN, issue, read
from service.recommend.schemas import Policy, ServedBy
from service.state.items import Items
from service.state.records import Event
from tests.service.conftest import Gateway

UNKNOWN_ITEMS = "tastestream_events_unknown_item_total"
OUTCOMES = "tastestream_recommendation_outcomes_total"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unknown_items, "CHECK_INTERVAL_S", 0.01)


async def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "the condition was not met in time"
        await asyncio.sleep(0.01)


async def fill(gateway: Gateway, *names: str) -> None:
    items = [{"item_id": name, "title": f"A {name}"} for name in names]
    assert (await gateway.ask("POST", "/items", items)).json()["accepted"] == len(names)


def event(item: str, **fields: Any) -> dict[str, Any]:
    return {"user_id": "u", "item_id": item, "type": "like", **fields}


async def test_results_say_which_items_the_catalogue_lacks(gateway: Gateway) -> None:
    await fill(gateway, "tea")
    events = [event("tea"), event("sku-1"), {"user_id": "u"}, event("sku-2")]
    answer = (await gateway.ask("POST", "/events?results=true", events)).json()
    assert (answer["accepted"], answer["unknown_items"]) == (3, 2)
    assert [row["note"] for row in answer["results"]] == [None, "unknown_item", None, "unknown_item"]


async def test_results_are_given_also_while_the_catalogue_can_not_be_read(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(self: Items, item_ids: object) -> frozenset[str]:
        raise StateUnavailable("down")

    monkeypatch.setattr(Items, "known", failing)
    answer = await gateway.ask("POST", "/events?results=true", [event("tea")])
    assert (answer.status_code, answer.json()["unknown_items"]) == (202, None)


async def test_accepted_events_of_unknown_items_are_counted_after_the_answer(gateway: Gateway) -> None:
    await fill(gateway, "tea")
    sent = [event("tea", event_id="1"), event("sku", event_id="2"), event("sku", event_id="3")]
    for _ in range(2):
        assert (await gateway.ask("POST", "/events", sent)).status_code == 202
    await until(lambda: gateway.count(UNKNOWN_ITEMS) == 2)
    await gateway.ask("POST", "/events", [event("sku", event_id="4"), event("tea", event_id="5")])
    await until(lambda: gateway.count(UNKNOWN_ITEMS) == 3)


async def test_only_so_many_items_are_looked_up_at_a_time_and_stand_for_all(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unknown_items, "MAX_WAITING", 100)
    asked: list[int] = []

    async def counting(self: Items, item_ids: list[str]) -> frozenset[str]:
        asked.append(len(item_ids))
        return frozenset()

    monkeypatch.setattr(Items, "known", counting)
    monkeypatch.setattr(unknown_items, "CHECK_INTERVAL_S", 3600)
    seen = UnknownItems(gateway.store.items, gateway.metrics.unknown_items)
    for start in range(0, 1000, 50):
        seen.see([Event("", "u", f"sku-{start + number}", "like", 0) for number in range(50)], ["accepted"] * 50)
    await seen._check()
    await seen.close()
    assert (sum(asked), gateway.count(UNKNOWN_ITEMS)) == (100, 1000)


async def test_what_a_recommendation_led_to_is_counted_by_what_ranked_it(gateway: Gateway) -> None:
    await fill(gateway, "tea")
    answer = (await gateway.ask("POST", "/recommend", {"user_id": "u", "candidates": ["tea"]})).json()
    ours = answer["recommendation_id"]
    sent = [
        event("tea", recommendation_id=ours),
        event("tea", recommendation_id=ours, type="rating", value=1),
        event("tea", recommendation_id=ours, type="impression"),
        event("tea", recommendation_id="another shop's"),
        event("tea", recommendation_id="0" * 32),
        event("tea"),
    ]
    for _ in range(2):
        assert (await gateway.ask("POST", "/events", sent)).status_code == 202
    assert answer["served_by"] == "popular"
    assert gateway.count(OUTCOMES, served_by="popular", model="", signal="positive") == 1
    assert gateway.count(OUTCOMES, served_by="popular", model="", signal="negative") == 1
    assert gateway.count(OUTCOMES, served_by="unknown", model="", signal="positive") == 2
    assert gateway.count(OUTCOMES, served_by="popular", model="", signal="neutral") == 0, "it was only shown"


def test_an_id_says_what_ranked_to_the_gateway_that_has_the_model_and_others_that_it_was_another() -> None:
    for served_by in get_args(ServedBy):
        own = issue(served_by, "ranker@1")
        assert len(own) == 34
        assert read(own, {"ranker@1"})[:3] == (served_by, "ranker@1", "production")
        assert read(own, {"ranker@2"})[:2] == read(own, ())[:2] == (served_by, "other")
        assert read(issue(served_by, None), {"ranker@1"})[:2] == (served_by, "")
    assert len({issue("mllm", "ranker@1") for _ in range(1000)}) == 1000


@pytest.mark.parametrize("policy", get_args(Policy))
def test_an_id_says_which_policy_showed_which_item_where(policy: Policy) -> None:
    items = [f"item-{number}" for number in range(15)]
    for _ in range(50):
        receipt = read(issue("mllm", "ranker@1", policy, items), {"ranker@1"})
        assert receipt.policy == policy
        assert [receipt.slot(item) for item in items[:10]] == list(range(1, 11))
    elsewhere = [bool(receipt.slot(f"other-{number}")) for number in range(2000)]
    assert sum(elsewhere) / 2000 < 0.08


@pytest.mark.parametrize("given", ["", "x", "0" * 32, "f" * 31, "\ud800", "é" * 16, "0" * 256])
def test_an_id_that_is_not_ours_is_unknown(given: str) -> None:
    assert read(given, {"ranker@1"}) == UNKNOWN
