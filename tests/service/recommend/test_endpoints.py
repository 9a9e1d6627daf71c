"""Guarantees of `POST /recommend`, with a real engine that asks a model server over HTTP."""

from typing import Any

import orjson
import pytest

from tests.redis_servers import admin_of, all_keys
from tests.service.conftest import Gateway
from tests.service.recommend.asking import ASK, fill, ids, recommend, send
from tests.service.serving import VERSION, ModelServer


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


async def test_a_deleted_user_gets_no_cached_scores_back(ranked: Gateway, model: ModelServer) -> None:
    await fill(ranked, "tea", "pan", "hat")
    await recommend(ranked)
    await ranked.ask("DELETE", "/users/u")
    assert (await recommend(ranked))["served_by"] == "mllm"


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
