"""Promises to operators."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service import operations
from service.settings.engines import EngineSettings
from tests.conftest import RedisServer
from tests.service.conftest import Gateway, OpenGateway
from tests.service.serving import VERSION, ModelServer, serving


async def test_healthz_does_not_depend_on_redis(open_gateway: OpenGateway) -> None:
    async with open_gateway(redis_url="redis://127.0.0.1:1") as gateway:
        assert (await gateway.ask("GET", "/healthz")).json() == {"status": "ok"}


async def test_load_balancers_may_send_head(gateway: Gateway) -> None:
    for path in ("/healthz", "/readyz"):
        assert (await gateway.ask("HEAD", path)).status_code == 200


async def test_ready_means_that_redis_and_both_models_answer(open_ranked: OpenGateway, model: ModelServer) -> None:
    async with (
        serving(model.app()) as url,
        open_ranked(url, summarizer=EngineSettings(url=url, model=VERSION)) as gateway,
    ):
        answer = await gateway.ask("GET", "/readyz")
        assert answer.status_code == 200
        assert answer.json() == {"status": "ready", "redis": "ok", "ranker": "ok", "summarizer": "ok"}


async def test_without_models_it_is_degraded(ranked: Gateway, model: ModelServer) -> None:
    model.status = 500
    answer = await ranked.ask("GET", "/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "degraded", "redis": "ok", "ranker": "down", "summarizer": "not_configured"}


async def test_without_redis_it_is_not_ready(
    open_gateway: OpenGateway, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "FRESH_S", 0)
    server = RedisServer(tmp_path_factory.mktemp("own"))
    server.start()
    async with open_gateway(redis_url=server.url) as gateway:
        assert (await gateway.ask("GET", "/readyz")).status_code == 200
        server.kill()
        answer = await gateway.ask("GET", "/readyz")
        assert (answer.status_code, answer.json()["code"], answer.json()["redis"]) == (503, "not_ready", "down")
        assert "retry-after" in answer.headers
        metrics = await gateway.ask("GET", "/metrics")
        assert metrics.status_code == 200
        assert gateway.count("tastestream_redis_up") == 0
        server.start()
        assert (await gateway.ask("GET", "/readyz")).status_code == 200
        server.kill()


async def test_metrics_show_due_users(gateway: Gateway) -> None:
    events = [{"user_id": "u", "item_id": f"i{number}"} for number in range(3)]
    await gateway.ask("POST", "/events", events)
    answer = await gateway.ask("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    assert families["tastestream_due_users"].samples[0].value == 1
    assert families["tastestream_pending_events"].samples[0].value == 3
    assert families["tastestream_redis_up"].samples[0].value == 1
    assert families["tastestream_events"].samples[0].labels == {"tenant": "default", "result": "accepted"}


async def test_metrics_show_pending_events_and_dead_letters(gateway: Gateway) -> None:
    await gateway.ask("POST", "/events", [{"user_id": "u", "item_id": f"i{number}"} for number in range(5)])
    (claim,) = await gateway.store.summaries.claim(1)
    await gateway.store.summaries.dead_letter(claim, "answer_empty", 3)
    await gateway.ask("GET", "/metrics")
    assert gateway.count("tastestream_pending_events", tenant="default") == 2
    assert gateway.count("tastestream_dead_letters", tenant="default") == 1


async def test_no_user_or_item_is_ever_a_label(ranked: Gateway) -> None:
    await ranked.ask("PUT", "/items/secret-item", {"title": "secret title"})
    await ranked.ask("POST", "/events", {"user_id": "secret-user", "item_id": "secret-item"})
    await ranked.ask("POST", "/recommend", {"user_id": "secret-user", "candidates": ["secret-item", "secret-other"]})
    await ranked.ask("GET", "/items/secret-item/similar")
    await ranked.ask("DELETE", "/users/secret-user")
    text = (await ranked.ask("GET", "/metrics")).text
    assert "tastestream_recommendations_total" in text
    assert "secret" not in text
