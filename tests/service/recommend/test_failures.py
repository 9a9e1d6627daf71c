"""Guarantees of `POST /recommend` when the model, the state store or the time fails."""

import asyncio

import orjson
import pytest

from service.pictures.store import PictureStore
from service.settings.engines import RankerSettings
from service.settings.limits import ConcurrencySettings, LimitSettings
from service.settings.recommend import RecommendSettings
from service.state.reads import Wave
from tests.conftest import RedisServer
from tests.redis_servers import admin_of
from tests.service.conftest import Gateway, OpenGateway
from tests.service.pictures.pictures import encoded, picture
from tests.service.recommend.asking import ASK, KEYS, fill, ids, recommend, send
from tests.service.serving import VERSION, ModelServer, serving, until


@pytest.mark.parametrize(
    ("status", "reason"), [(500, "ranker_down"), (503, "ranker_overloaded"), (400, "ranker_rejected")]
)
async def test_a_failing_model_degrades_the_answer_and_says_so(
    ranked: Gateway, model: ModelServer, status: int, reason: str
) -> None:
    await fill(ranked, "tea", "pan", "hat")
    await ranked.store.cooccurrence.record(["hat"], [])
    model.status = status
    answer = await recommend(ranked)
    assert ids(answer)[0] == "hat"
    assert (answer["served_by"], answer["degraded"], answer["degraded_reason"]) == ("popular", True, reason)
    assert answer["model"] == VERSION
    assert (
        ranked.count("tastestream_recommendations_total", tenant="default", served_by="popular", degraded_reason=reason)
        == 1
    )


async def test_a_model_that_answers_nonsense_degrades_the_answer(ranked: Gateway, model: ModelServer) -> None:
    await fill(ranked, "tea", "pan", "hat")
    model.default = 7.0
    assert (await recommend(ranked))["degraded_reason"] == "ranker_bad_answer"


async def test_without_the_model_co_occurrence_comes_before_popularity(ranked: Gateway, model: ModelServer) -> None:
    await fill(ranked, "tea", "pan", "hat")
    evidence = ranked.store.cooccurrence
    await evidence.record(["cup", "tea"], [])
    for _ in range(3):
        await evidence.record(["hat"], [])
    await send(ranked, "cup")
    model.status = 500
    answer = await recommend(ranked)
    assert ids(answer) == ["tea", "hat", "pan"]
    assert answer["served_by"] == "collaborative"


async def test_without_the_model_cached_scores_serve_first(ranked: Gateway, model: ModelServer) -> None:
    await fill(ranked, "tea", "pan", "hat")
    model.scores = {"tea": 0.9, "pan": 0.1}
    await send(ranked, "cup")
    await recommend(ranked, candidates=["tea", "pan"])
    model.status = 500
    answer = await recommend(ranked)
    assert ids(answer) == ["tea", "hat", "pan"]
    assert (answer["served_by"], answer["degraded"]) == ("cache", True)


async def test_a_late_model_is_not_waited_for_beyond_the_deadline(ranked: Gateway, model: ModelServer) -> None:
    await fill(ranked, "tea", "pan", "hat")
    model.answering.clear()
    async with asyncio.timeout(30):
        answer = await recommend(ranked, deadline_ms=2000)
    assert (answer["degraded"], answer["degraded_reason"]) == (True, "ranker_late")
    # The abandoned call was closed, not left to run.
    await until(lambda: model.abandoned == 1)


async def test_a_model_that_is_not_there_degrades_the_answer(open_ranked: OpenGateway) -> None:
    async with open_ranked("http://127.0.0.1:1") as gateway:
        await fill(gateway, "tea", "pan", "hat")
        answer = await recommend(gateway)
        assert (answer["degraded_reason"], answer["model"]) == ("ranker_down", VERSION)


async def test_a_model_that_fails_again_and_again_is_not_asked_until_it_may_be_back(
    open_ranked: OpenGateway, model: ModelServer
) -> None:
    state, limit = "tastestream_breaker_state", "tastestream_ranker_concurrency_limit"
    ranker = {"version": VERSION, "connect_timeout_s": 20.0, "breaker_max_open_s": 0.2, "retry_share": 0.5}
    async with serving(model.app()) as url, open_ranked(url, ranker=RankerSettings(url=url, **ranker)) as gateway:
        await fill(gateway, "tea", "pan", "hat")
        assert (await recommend(gateway, user_id="one"))["served_by"] == "mllm"
        assert gateway.count(state, engine="ranker") == 0
        assert gateway.count("tastestream_retry_budget_ratio", engine="ranker") == 1
        model.status, asked = 500, len(model.requests)
        reasons = {(await recommend(gateway))["degraded_reason"] for _ in range(5)}
        assert reasons == {"ranker_down"}
        assert gateway.count(state, engine="ranker") == 2
        assert (await recommend(gateway))["degraded_reason"] == "ranker_open"
        assert len(model.requests) == asked + 5
        model.status = 200
        async with asyncio.timeout(60):
            while gateway.count(state, engine="ranker") > 0:
                await recommend(gateway, user_id="another")
        assert gateway.count(limit) == 8, "failures say nothing about how much the ranker can do at a time"
        assert gateway.count("tastestream_ranker_concurrent") == 0


async def test_without_a_ranker_the_answer_is_degraded(gateway: Gateway) -> None:
    await fill(gateway, "tea", "pan", "hat")
    await gateway.store.cooccurrence.record(["hat"], [])
    answer = await recommend(gateway)
    assert (answer["served_by"], answer["degraded_reason"], answer["model"]) == ("popular", "no_ranker", None)
    assert answer["items"][0]["item_id"] == "hat"
    assert answer["items"][0]["score"] > answer["items"][1]["score"]


async def test_no_more_rankings_run_at_once_than_allowed(open_ranked: OpenGateway, model: ModelServer) -> None:
    settings = RecommendSettings(max_concurrent_ranks=1, deadline_ms=30_000)
    model.answering.clear()
    async with (
        serving(model.app()) as url,
        open_ranked(url, recommend=settings) as gateway,
    ):
        await fill(gateway, "tea", "pan", "hat")
        first = asyncio.create_task(recommend(gateway, user_id="first"))
        await until(lambda: len(model.requests) == 1)
        second = await recommend(gateway, user_id="second", deadline_ms=2000)
        assert second["degraded_reason"] == "ranker_busy"
        assert gateway.count("tastestream_shed_total", **{"class": "ranking"}) == 1
        assert len(model.requests) == 1
        model.answering.set()
        assert (await first)["served_by"] == "mllm"


async def test_beyond_the_requests_in_flight_the_gateway_sheds_load(
    open_ranked: OpenGateway, model: ModelServer
) -> None:
    limits = LimitSettings(max_concurrent_requests=ConcurrencySettings(recommend=1))
    model.answering.clear()
    async with (
        serving(model.app()) as url,
        open_ranked(url, limits=limits) as gateway,
    ):
        await fill(gateway, "tea")
        first = asyncio.create_task(recommend(gateway))
        await until(lambda: len(model.requests) == 1)
        refused = await gateway.ask("POST", "/recommend", ASK)
        assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")
        assert int(refused.headers["retry-after"]) > 0
        assert (await gateway.ask("GET", "/healthz")).status_code == 200
        model.answering.set()
        await first
        assert (await gateway.ask("GET", "/users/u")).status_code == 200


async def test_when_the_client_disconnects_the_call_of_the_model_ends(
    open_ranked: OpenGateway, model: ModelServer
) -> None:
    model.answering.clear()
    async with (
        serving(model.app()) as url,
        open_ranked(url) as gateway,
        serving(gateway.app, lifespan="off") as own,
    ):
        await fill(gateway, "tea", "pan", "hat")
        host, _, port = own.removeprefix("http://").partition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        body = orjson.dumps({**ASK, "deadline_ms": 30_000})
        writer.write(
            b"POST /recommend HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (len(body), body)
        )
        await until(lambda: len(model.requests) == 1)
        writer.close()
        await until(lambda: model.abandoned == 1)
        await until(lambda: gateway.count("tastestream_errors_total", code="client_closed_request") == 1)


async def test_a_lost_state_store_is_a_503(open_gateway: OpenGateway, tmp_path_factory: pytest.TempPathFactory) -> None:
    server = RedisServer(tmp_path_factory.mktemp("own"))
    server.start()
    async with open_gateway(redis_url=server.url) as gateway:
        server.kill()
        answer = await gateway.ask("POST", "/recommend", ASK)
        assert (answer.status_code, answer.json()["code"]) == (503, "state_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        events = await gateway.ask("POST", "/events", {"user_id": "u", "item_id": "i"})
        assert (events.status_code, events.json()["code"]) == (503, "state_unavailable")


@pytest.mark.parametrize(("key", "part"), [(KEYS.neighbours("tea"), "collaborative"), (KEYS.popular, "popular")])
@pytest.mark.parametrize("candidates", [ASK["candidates"], None])
async def test_a_feature_that_cannot_be_read_does_not_fail_the_answer(
    ranked: Gateway, redis_url: str, key: str, part: str, candidates: list[str] | None
) -> None:
    await fill(ranked, "tea", "pan", "hat")
    await send(ranked, "cup")
    with admin_of(redis_url) as admin:
        admin.set(key, "no ranking")
    answer = await recommend(ranked, candidates=candidates)
    assert (answer["served_by"], len(answer["items"])) == ("mllm", 3)
    assert ranked.count("tastestream_dependency_failures_total", dependency=part) >= 1


async def test_items_whose_pictures_cannot_be_read_are_ranked_by_their_text(
    ranked: Gateway, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise OSError("disk on fire")

    await ranked.ask("PUT", "/items/tea", {"title": "A tea", "image_base64": encoded(picture())})
    monkeypatch.setattr(PictureStore, "read_many", fail)
    assert (await recommend(ranked))["served_by"] == "mllm"
    assert isinstance(model.requests[0]["documents"][0], str)


async def test_a_store_that_hangs_is_not_waited_for_beyond_the_deadline(
    open_gateway: OpenGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Wave, "send", hang)
    async with open_gateway(recommend=RecommendSettings(deadline_ms=100)) as gateway:
        answer = await gateway.ask("POST", "/recommend", ASK)
        assert (answer.status_code, answer.json()["code"]) == (503, "state_unavailable")


async def test_a_deadline_of_the_caller_that_is_too_short_does_not_read_as_a_lost_store(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Wave, "send", hang)
    answer = await gateway.ask("POST", "/recommend", {**ASK, "deadline_ms": 2})
    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
    assert answer.json()["field"] == "deadline_ms"
    assert "deadline_ms = 2" in answer.json()["detail"]
