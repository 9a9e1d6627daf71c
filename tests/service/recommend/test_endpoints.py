"""Guarantees of `POST /recommend`, with a real engine that asks a model server over HTTP."""

import asyncio
from typing import Any

import orjson
import pytest

from service.pictures.store import PictureStore
from service.settings.engines import RankerSettings
from service.settings.limits import ConcurrencySettings, LimitSettings
from service.settings.recommend import RecommendSettings
from service.state.keys import Keys
from service.state.reads import Wave
from tests.conftest import RedisServer
from tests.redis_servers import admin_of, all_keys
from tests.service.conftest import PATIENT, Gateway, OpenGateway
from tests.service.pictures.pictures import encoded, picture
from tests.service.serving import VERSION, ModelServer, serving, until

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


async def test_the_model_ranks_the_candidates(ranked: Gateway, model: ModelServer) -> None:
    await fill(ranked, "tea", "pan", "hat")
    model.scores = {"hat": 0.9, "tea": 0.2, "pan": 0.6}
    answer = await recommend(ranked)
    assert [(item["item_id"], round(item["score"], 3), item["rank"]) for item in answer["items"]] == [
        ("hat", 0.9, 1),
        ("pan", 0.6, 2),
        ("tea", 0.2, 3),
    ]
    assert (answer["served_by"], answer["degraded"], answer["degraded_reason"]) == ("mllm", False, None)
    assert answer["model"] == VERSION
    assert answer["user_id"] == "u"
    assert answer["recommendation_id"]
    assert {"state", "retrieve", "filter", "rank", "blend", "rerank", "total"} == answer["timing_ms"].keys()
    assert answer["timing_ms"]["total"] >= answer["timing_ms"]["rank"]


async def test_the_model_is_asked_once_for_all_candidates(ranked: Gateway, model: ModelServer) -> None:
    names = [f"i{number}" for number in range(500)]
    await fill(ranked, *names)
    answer = await recommend(ranked, candidates=names, k=100)
    assert len(answer["items"]) == 100
    assert [len(request["documents"]) for request in model.requests] == [500]


async def test_an_accepted_event_is_seen_by_the_next_request(ranked: Gateway, model: ModelServer) -> None:
    await fill(ranked, "tea", "pan", "hat")
    await send(ranked, "tea")
    answer = await recommend(ranked)
    assert "tea" not in ids(answer)
    assert answer["skipped"] == [{"item_id": "tea", "reason": "seen"}]
    assert answer["pending_events"] == 1
    assert "A tea" in model.requests[-1]["queries"]
    assert "tea" in ids(await recommend(ranked, exclude_seen=False))


async def test_scores_are_cached_until_the_user_or_the_item_changes(ranked: Gateway, model: ModelServer) -> None:
    await fill(ranked, "tea", "pan", "hat")
    await send(ranked, "cup")
    first = await recommend(ranked)
    again = await recommend(ranked)
    assert (again["served_by"], again["degraded"]) == ("cache", False)
    assert again["items"] == first["items"]
    assert len(model.requests) == 1
    await ranked.ask("PUT", "/items/pan", {"title": "A steel pan"})
    assert (await recommend(ranked))["served_by"] == "mllm"
    assert [len(request["documents"]) for request in model.requests] == [3, 1]
    await send(ranked, "spoon")
    await recommend(ranked)
    assert [len(request["documents"]) for request in model.requests] == [3, 1, 3]


async def test_scores_for_an_unknown_user_are_not_cached(ranked: Gateway, model: ModelServer) -> None:
    """Requests for many unknown users would fill Redis."""
    await fill(ranked, "tea", "pan", "hat")
    before = await keys_of(ranked)
    for _ in range(2):
        assert (await recommend(ranked, user_id="made-up"))["served_by"] == "mllm"
    assert await keys_of(ranked) == before
    assert len(model.requests) == 2


async def keys_of(gateway: Gateway) -> list[str]:
    with admin_of(gateway.settings.redis_url or "", decode_responses=True) as admin:
        return sorted(str(key) for key in all_keys(admin))


async def test_a_candidate_may_be_an_item_that_the_catalogue_lacks(ranked: Gateway, model: ModelServer) -> None:
    await fill(ranked, "tea")
    model.scores = {"kettle": 0.9, "green": 0.8}
    answer = await recommend(
        ranked,
        candidates=["tea", {"item_id": "new", "title": "A kettle"}, {"item_id": "tea", "title": "again"}],
    )
    assert ids(answer) == ["new", "tea"]
    assert answer["skipped"] == [{"item_id": "tea", "reason": "duplicate"}]
    changed = await recommend(ranked, candidates=[{"item_id": "tea", "title": "A green tea"}])
    assert changed["items"][0]["score"] == pytest.approx(0.8)
    assert "genre of tea" in orjson.dumps(model.requests[-1]).decode()
    assert (await ranked.ask("GET", "/items/tea")).json()["title"] == "A tea"


async def test_an_unknown_candidate_is_skipped_and_reported(ranked: Gateway) -> None:
    await fill(ranked, "tea")
    answer = await recommend(ranked)
    assert ids(answer) == ["tea"]
    assert answer["skipped"] == [
        {"item_id": "pan", "reason": "unknown_item"},
        {"item_id": "hat", "reason": "unknown_item"},
    ]


async def test_filters_hold_for_given_candidates(ranked: Gateway) -> None:
    await fill(ranked, "tea", "pan", "hat")
    assert ids(await recommend(ranked, filters={"genres": ["genre of pan"]})) == ["pan"]


async def test_explain_shows_what_went_into_a_score(ranked: Gateway, model: ModelServer) -> None:
    await fill(ranked, "tea", "pan", "hat")
    await ranked.store.cooccurrence.record(["tea", "pan"], [])
    await send(ranked, "tea")
    model.default = 0.7
    answer = await recommend(ranked, explain=True)
    parts = {item["item_id"]: item["components"] for item in answer["items"]}
    assert parts["pan"] == {
        "mllm": 0.7,
        "collaborative": pytest.approx(1.0),
        "popular": 1.0,
        "item_weights": 0.0,
        "item_vectors": 0.0,
        "boost": 1.0,
        "rotation": 1.0,
        "unmet": 0.0,
    }
    assert parts["hat"] == {**parts["pan"], "collaborative": 0.0, "popular": 0.0}
    assert all("components" not in item for item in (await recommend(ranked))["items"])


async def test_without_candidates_neighbours_come_first_then_popular_items(ranked: Gateway) -> None:
    await fill(ranked, "tea", "pan", "hat", "pot")
    evidence = ranked.store.cooccurrence
    await evidence.record(["tea", "pot"], [])
    for _ in range(3):
        await evidence.record(["hat"], [])
    await send(ranked, "tea")
    answer = await recommend(ranked, candidates=None, explain=True, k=2)
    assert set(ids(answer)) == {"hat", "pot"}
    everything = await recommend(ranked, candidates=None, k=10)
    assert set(ids(everything)) == {"hat", "pot", "pan"}


async def test_an_unknown_user_gets_an_answer(ranked: Gateway) -> None:
    await fill(ranked, "tea", "pan")
    answer = await recommend(ranked, user_id="stranger", candidates=None)
    assert len(answer["items"]) == 2
    assert (answer["summary_version"], answer["pending_events"]) == (0, 0)


async def test_an_empty_catalogue_gives_an_empty_answer(ranked: Gateway, model: ModelServer) -> None:
    assert (await recommend(ranked, candidates=None))["items"] == []
    assert (await recommend(ranked, candidates=[]))["items"] == []
    assert model.requests == []


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


async def test_a_deleted_user_gets_no_cached_scores_back(ranked: Gateway, model: ModelServer) -> None:
    await fill(ranked, "tea", "pan", "hat")
    await recommend(ranked)
    await ranked.ask("DELETE", "/users/u")
    assert (await recommend(ranked))["served_by"] == "mllm"


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


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"colour": 1}, "colour"),
        ({"user_id": None}, "user_id"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": "a\x00"}, "user_id"),
        ({"user_id": 5}, "user_id"),
        ({"candidates": "tea"}, "candidates"),
        ({"candidates": [5]}, "candidates.0"),
        ({"candidates": ["tea", ""]}, "candidates.1.item_id"),
        ({"candidates": ["tea", {"title": "x"}]}, "candidates.1.item_id"),
        ({"candidates": [{"item_id": "x", "title": ""}]}, "candidates.0.title"),
        ({"candidates": [{"item_id": "x", "title": "  "}]}, "candidates.0.title"),
        ({"candidates": [{"item_id": "x", "image_url": "http://x"}]}, "candidates.0.image_url"),
        ({"candidates": [{"item_id": "x", "title": "t" * 501}]}, "candidates.0.title"),
        ({"candidates": [{"item_id": "x", "title": "t", "tags": ["t"] * 51}]}, "candidates.0.tags"),
        ({"candidates": [f"i{number}" for number in range(501)]}, "candidates"),
        ({"k": 0}, "k"),
        ({"k": 101}, "k"),
        ({"k": "5"}, "k"),
        ({"k": 1.5}, "k"),
        ({"exclude_seen": "yes"}, "exclude_seen"),
        ({"deadline_ms": 0}, "deadline_ms"),
        ({"deadline_ms": 30_001}, "deadline_ms"),
        ({"context": []}, "context"),
        ({"context": {"x": "y" * 5000}}, "context"),
        ({"explain": 1}, "explain"),
        ({"filters": {"colour": []}}, "filters.colour"),
    ],
)
async def test_a_wrong_field_is_named(gateway: Gateway, change: dict[str, Any], field: str) -> None:
    answer = await gateway.ask("POST", "/recommend", {**ASK, **change})
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, "invalid_request", field)


@pytest.mark.parametrize(("content", "status"), [(b"", 400), (b"[", 400), (b"[]", 422), (b"null", 422), (b'"u"', 422)])
async def test_another_body_is_refused(gateway: Gateway, content: bytes, status: int) -> None:
    assert (await gateway.client.post("/recommend", content=content)).status_code == status
