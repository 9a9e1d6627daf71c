"""What was shown is logged with propensities and features, joined with what came of it, and erased with its user."""

import json
import math
from pathlib import Path
from typing import Any

import orjson
import pytest

from model_store.item_models.item_models import ITEM_MODELS
from service.recommend.blend import MET
from service.settings.recommend import RecommendSettings
from service.settings.state import StateSettings
from service.state import shown_log
from service.state.shown_log import Shown
from tests.service.conftest import BLEND, PATIENT, Gateway, OpenGateway
from tests.service.recommend.asking import fill
from tests.service.serving import ModelServer, serving, until
from tests.stores import collaborative

ITEMS = ("tea", "pan", "hat", "cup")


async def logged(gateway: Gateway) -> list[Shown]:
    log = gateway.store.shown_log
    return [shown for bucket in gateway.store.log.buckets async for shown in log.read(bucket)]


async def recommend(gateway: Gateway, user: str = "u", **more: Any) -> dict[str, Any]:
    answer = await gateway.ask("POST", "/recommend", {"user_id": user, "candidates": list(ITEMS), "k": 3, **more})
    found: dict[str, Any] = answer.json()
    return found


def log_of(answers: int, **more: Any) -> StateSettings:
    return PATIENT.model_copy(update={"shown_log_size": answers, **more})


async def test_answers_are_logged_as_they_were_shown(open_gateway: OpenGateway) -> None:
    async with open_gateway(state=log_of(100)) as gateway:
        await fill(gateway, *ITEMS)
        answer = await recommend(gateway)
        await until(lambda: gateway.count("tastestream_shown_answers_total", outcome="logged") == 1)
        (shown,) = await logged(gateway)
    assert shown.recommendation_id == answer["recommendation_id"]
    assert (shown.user_id, shown.model, shown.policy, shown.propensity) == ("u", "", "production", 1.0)
    assert [item.item_id for item in shown.items] == [item["item_id"] for item in answer["items"]]
    assert [item.propensity for item in shown.items] == [1.0] * 3
    assert {"mllm", "collaborative", "popular", *ITEM_MODELS, "score"} <= set(shown.features)


async def test_explored_orders_are_logged_with_their_probabilities(open_gateway: OpenGateway) -> None:
    explore = RecommendSettings(deadline_ms=30_000, exploration_temperature=1.0)
    async with open_gateway(state=log_of(100), recommend=explore) as gateway:
        await fill(gateway, *ITEMS)
        orders = {tuple(item["item_id"] for item in (await recommend(gateway))["items"]) for _ in range(30)}
        assert len(orders) > 1
        assert {frozenset(order) for order in orders} == {frozenset(ITEMS[:3])}, "only what would be shown anyway"
        await until(lambda: gateway.count("tastestream_shown_answers_total", outcome="logged") == 30)
        for shown in await logged(gateway):
            assert [item.propensity for item in shown.items] == pytest.approx([1 / 3, 1 / 2, 1], abs=1e-5)


async def test_what_ordered_an_answer_besides_its_features_is_logged(
    open_ranked: OpenGateway, model: ModelServer
) -> None:
    """The diversity of the request, and the evidence to which an item that few users met was raised: the tea's."""
    model.scores = {"pan": 0.9}
    async with serving(model.app()) as url, open_ranked(url, state=log_of(100)) as gateway:
        await fill(gateway, *ITEMS)
        for _ in range(round(MET)):
            for together in ["cup", "tea"], ["hat"]:
                await gateway.store.cooccurrence.record(together, [])
        event = {"user_id": "u", "item_id": "cup", "type": "like"}
        assert (await gateway.ask("POST", "/events", event)).status_code == 202
        await recommend(gateway, k=1)
        await recommend(gateway, "nobody", diversity=0.25)
        await until(lambda: gateway.count("tastestream_shown_answers_total", outcome="logged") == 2)
        found = {shown.user_id: shown for shown in await logged(gateway)}
        together = (await collaborative(gateway.store, ["cup"], ["tea"]))["tea"]
    raised, diverse = found["u"], found["nobody"]
    assert (raised.diversity, diverse.diversity, diverse.typical) == (0.0, 0.25, {})
    (pan,) = raised.items
    assert pan.item_id == "pan"
    assert raised.typical["collaborative"] == pytest.approx(math.log1p(together), rel=1e-5)
    assert raised.typical["popular"] == pytest.approx(math.log1p(MET), rel=1e-5)
    added = dict(zip(raised.features, pan.features, strict=True))["unmet"]
    assert added == pytest.approx(BLEND.collaborative * math.log1p(together), rel=1e-5)


async def test_answers_that_were_logged_without_their_diversity_are_read(
    open_gateway: OpenGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = shown_log._encoded
    monkeypatch.setattr(shown_log, "_encoded", lambda shown: orjson.dumps(orjson.loads(encoded(shown))[:8]))
    async with open_gateway(state=log_of(100)) as gateway:
        await fill(gateway, *ITEMS)
        await recommend(gateway)
        await until(lambda: gateway.count("tastestream_shown_answers_total", outcome="logged") == 1)
        (shown,) = await logged(gateway)
    assert (shown.user_id, shown.diversity, shown.typical) == ("u", None, {})


async def test_nothing_is_logged_by_default(gateway: Gateway) -> None:
    await fill(gateway, *ITEMS)
    await recommend(gateway)
    assert await gateway.store.shown_log.count() == 0


async def test_the_log_is_bounded(open_gateway: OpenGateway) -> None:
    async with open_gateway(state=log_of(200, buckets=1)) as gateway:
        await fill(gateway, *ITEMS)
        await recommend(gateway)
        await until(lambda: gateway.count("tastestream_shown_answers_total", outcome="logged") == 1)
        (shown,) = await logged(gateway)
        for _ in range(10):
            assert await gateway.store.shown_log.write([shown] * 100) == 100
        assert await gateway.store.shown_log.count() <= 300, "whole nodes of a stream are removed"


async def test_a_deleted_user_is_not_in_the_log_and_does_not_come_back(open_gateway: OpenGateway) -> None:
    async with open_gateway(state=log_of(1000)) as gateway:
        await fill(gateway, *ITEMS)
        await recommend(gateway)
        await recommend(gateway, "other")
        await until(lambda: gateway.count("tastestream_shown_answers_total", outcome="logged") == 2)
        (mine,) = [shown for shown in await logged(gateway) if shown.user_id == "u"]
        assert (await gateway.ask("DELETE", "/users/u")).status_code == 204
        assert await gateway.store.shown_log.write([mine]) == 0, "it was read before the deletion"
        assert [shown.user_id for shown in await logged(gateway)] == ["other"]


async def test_rows_join_items_with_their_outcomes(open_gateway: OpenGateway, tmp_path: Path) -> None:
    from model_store.signals import Signals, Vocabulary
    from service.cli.recommendations import _rows

    async with open_gateway(state=log_of(1000)) as gateway:
        await fill(gateway, *ITEMS)
        answer = await recommend(gateway)
        event = {"user_id": "u", "recommendation_id": answer["recommendation_id"]}
        first, second, third = (item["item_id"] for item in answer["items"])
        for item, kind in (first, "click"), (first, "like"), (second, "dislike"), (second, "view"):
            await gateway.ask("POST", "/events", {**event, "item_id": item, "type": kind})
        await gateway.ask("POST", "/events", {"user_id": "u", "item_id": third, "type": "like"})
        await until(lambda: gateway.count("tastestream_shown_answers_total", outcome="logged") == 1)
        rows = [row async for row in _rows(gateway.store, Signals(Vocabulary()), lambda *_: None)]
    found = {(row["slot"], row["item_id"]): row["outcome"] for row in rows}
    assert found == {(1, first): "positive", (2, second): "negative", (3, third): None}
    assert json.loads(json.dumps(rows)) == rows
