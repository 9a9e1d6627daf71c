"""What interactions mean, as recommendations show it: co-occurrence, prompts and cached scores."""

from typing import Any

import pytest

from service.recommend.ranker import open_ranker
from service.recommend.ranking import cache_key
from service.settings.signals import SignalSettings
from service.state.records import Event, UserState
from tests.service.conftest import Gateway, OpenGateway
from tests.service.serving import ModelServer, serving


async def fill(gateway: Gateway, *names: str) -> None:
    items = [{"item_id": name, "title": f"A {name}"} for name in names]
    assert (await gateway.ask("POST", "/items", items)).json()["accepted"] == len(names)


async def send(gateway: Gateway, item: str, kind: str, value: float | None = None, user: str = "u") -> None:
    event = {"user_id": user, "item_id": item, "type": kind, "value": value}
    assert (await gateway.ask("POST", "/events", event)).status_code == 202


async def recommend(gateway: Gateway, **ask: Any) -> dict[str, Any]:
    answer = await gateway.ask("POST", "/recommend", {"user_id": "u", "explain": True, **ask})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def collaborative(gateway: Gateway) -> float:
    """The collaborative score of a pot for a user of tea, which another user liked together with it."""
    (item,) = (await recommend(gateway, candidates=["pot"]))["items"]
    return float(item["components"]["collaborative"])


@pytest.mark.parametrize(
    ("kind", "value", "counts"),
    [
        ("like", None, True),
        ("add-to-cart", None, True),
        ("rating", 5, True),
        ("rating", 1, False),
        ("thumbs_down", None, False),
        ("unlike", None, False),
        ("refund", None, False),
        ("remove_from_cart", None, False),
        ("report", None, False),
        ("rating", 3, True),
        ("view", None, True),
        ("wink", None, True),
    ],
)
async def test_what_co_occurs_with_an_item_of_the_users_counts_unless_it_was_disliked(
    gateway: Gateway, kind: str, value: float | None, counts: bool
) -> None:
    await fill(gateway, "tea", "pot")
    await gateway.store.cooccurrence.record(["tea", "pot"], [])
    await send(gateway, "tea", kind, value)
    assert (await collaborative(gateway) > 0) == counts


async def test_the_settings_decide_which_types_are_negative(open_gateway: OpenGateway) -> None:
    async with open_gateway(signals=SignalSettings(negative=("wink",))) as gateway:
        await fill(gateway, "tea", "pot")
        await gateway.store.cooccurrence.record(["tea", "pot"], [])
        await send(gateway, "tea", "wink")
        assert await collaborative(gateway) == 0
        assert gateway.count("tastestream_unknown_event_types_total") == 0


async def test_a_rating_of_another_value_is_another_prompt(ranked: Gateway, model: ModelServer) -> None:
    await fill(ranked, "tea", "pot")
    for user, value in (("low", 1), ("high", 5)):
        await send(ranked, "tea", "rating", value, user)
        await recommend(ranked, user_id=user, candidates=["pot"])
    shown = [request["queries"] for request in model.requests]
    assert ["rating 1 of 5 (disliked)" in shown[0], "rating 5 of 5 (liked)" in shown[1]] == [True, True]


async def test_a_score_is_cached_for_the_value_that_the_prompt_showed(ranked: Gateway) -> None:
    ranker = open_ranker(ranked.settings, ranked.metrics)
    assert ranker is not None
    low, high = (Event("", "u", "tea", "rating", 1_750_000_000_000, value) for value in (1.0, 5.0))
    keys = {cache_key(UserState("u", None, (event,), 0, frozenset()), {}, ranker) for event in (low, high)}
    assert len(keys) == 2


async def test_the_settings_reach_the_prompt_of_a_version(open_ranked: OpenGateway, model: ModelServer) -> None:
    signals = SignalSettings(positive=("wink",))
    async with serving(model.app()) as url, open_ranked(url, signals=signals) as gateway:
        await fill(gateway, "tea", "pot")
        await send(gateway, "tea", "wink")
        await recommend(gateway, candidates=["pot"])
    assert "wink (liked): A tea" in model.requests[-1]["queries"]


async def test_accepted_events_of_unknown_types_are_counted(gateway: Gateway) -> None:
    events = [{"user_id": "u", "item_id": "tea", "type": kind} for kind in ("wink", "nudge", "like", "view", "poke")]
    assert (await gateway.ask("POST", "/events", events)).json()["accepted"] == 5
    assert (await gateway.ask("POST", "/events", events)).json()["duplicates"] == 5
    assert gateway.count("tastestream_unknown_event_types_total") == 3


async def test_an_impression_is_neither_seen_nor_shown_to_the_model(ranked: Gateway, model: ModelServer) -> None:
    await fill(ranked, "tea", "pot")
    await send(ranked, "tea", "impression")
    await send(ranked, "pot", "view")
    answer = await recommend(ranked, candidates=["tea", "pot"])
    assert [item["item_id"] for item in answer["items"]] == ["tea"]
    assert "A tea" not in model.requests[-1]["queries"]
    user = (await ranked.ask("GET", "/users/u")).json()
    assert (user["pending_events"], [one["item_id"] for one in user["recents"]]) == (2, ["pot"])
