"""Guarantees of `POST /recommend` with a real model on a real vLLM server."""

from pathlib import Path

import pytest

from model_store.engine.replicas import Replicas
from model_store.item_models.item_models import ItemModels
from model_store.views import InteractionView, ItemView, UserView
from service.metrics import Metrics
from service.recommend.concurrency import ConcurrencyLimit
from service.recommend.ranker import Ranker
from service.settings import Settings
from tests.service.conftest import gateway_on
from tests.service.pictures.pictures import encoded, picture
from tests.vllm_servers import ServedModel

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1800)]


async def test_words_pictures_and_recents_reach_the_model(
    ranker_server: ServedModel, redis_url: str, tmp_path: Path
) -> None:
    metrics = Metrics()
    ranker = Ranker(Replicas([ranker_server.engine()]), ConcurrencyLimit(1, 2, 2.0), metrics, ItemModels())
    settings = Settings(redis_url=redis_url, data_dir=tmp_path)
    red = picture(size=(40, 30), colour="red")
    async with gateway_on(settings, metrics=metrics, ranker=ranker) as gateway:
        items = [
            {"item_id": "red", "title": "Red boat", "genres": ["sea"], "image_base64": encoded(red)},
            {"item_id": "plain", "title": "Plain cup", "tags": ["tea"]},
            {"item_id": "liked", "title": "Old tower", "genres": ["town"]},
        ]
        assert (await gateway.ask("POST", "/items", items)).json()["picture_errors"] == []
        await gateway.ask("POST", "/events", {"user_id": "u", "item_id": "liked", "type": "like"})
        ask = {"user_id": "u", "candidates": ["red", "plain"], "explain": True, "deadline_ms": 30_000}
        answer = (await gateway.ask("POST", "/recommend", ask)).json()
    assert (answer["served_by"], answer["model"]) == ("mllm", ranker_server.manifest.id)
    engine = ranker_server.engine()
    user = UserView("", (InteractionView("like", ItemView("Old tower", ("town",))),))
    views = [ItemView("Red boat", ("sea",), image=red), ItemView("Plain cup", tags=("tea",))]
    expected = await engine.score(user, views)
    await engine.close()
    scores = {item["item_id"]: item["components"]["mllm"] for item in answer["items"]}
    assert [scores["red"], scores["plain"]] == pytest.approx(expected, abs=1e-5)
