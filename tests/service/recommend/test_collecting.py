"""Filters and seen items hold while candidates are collected, and an answer without items says so."""

from typing import Any

import pytest

from service.settings.recommend import RecommendSettings
from service.state.records import Item
from tests.redis_servers import on_both
from tests.service.conftest import Gateway, OpenGateway
from tests.service.recommend.asking import ids, recommend, send
from tests.service.serving import ModelServer


async def fill(gateway: Gateway, count: int, **fields: Any) -> list[str]:
    """Put so many items with these fields; their names begin with the values of the fields."""
    names = [f"{'-'.join(map(str, fields.values()))}-{number}" for number in range(count)]
    items = [{"item_id": name, "title": name, **fields} for name in names]
    for start in range(0, count, 1000):
        answer = await gateway.ask("POST", "/items", items[start : start + 1000])
        assert answer.json()["accepted"] == len(items[start : start + 1000])
    return names


def codes(answer: dict[str, Any]) -> list[str]:
    return [warned["code"] for warned in answer["warnings"]]


@on_both
@pytest.mark.parametrize(
    "filters", [{"genres": ["rare"]}, {"tags": ["rare"]}, {"attributes": {"shelf": "rare"}}, {"genres": ["rare", "x"]}]
)
async def test_a_filter_that_few_items_pass_finds_as_many_as_asked_for(
    ranked: Gateway, filters: dict[str, Any]
) -> None:
    common = await fill(ranked, 1500, genres=["common"])
    await fill(ranked, 30, genres=["rare"], tags=["rare"], attributes={"shelf": "rare"})
    await ranked.store.cooccurrence.seed("m@1", [(name, 2) for name in common], [])
    answer = await recommend(ranked, candidates=None, k=10, filters=filters)
    assert len(ids(answer)) == 10
    assert all(name.startswith("['rare']") for name in ids(answer))
    assert (answer["served_by"], answer["warnings"]) == ("mllm", [])


async def test_few_unpopular_items_with_a_term_are_found_among_many(ranked: Gateway) -> None:
    items = ranked.store.items
    # First: of items put in the same millisecond as the last 1000, some would count as new.
    rare = [Item(f"rare-{n:02}", "T", genres=("common", "rare"), tags=("rare",)) for n in range(30)]
    await items.put_many(rare)
    for start in range(0, 20_000, 1000):
        await items.put_many([Item(f"common-{start + n:05}", "T", genres=("common",)) for n in range(1000)])
    await ranked.store.new_items.add([f"common-{n:05}" for n in range(1000)])
    await ranked.store.cooccurrence.seed("m@1", [(f"common-{n:05}", 9) for n in range(5000)], [])
    several = {"genres": ["rare"]}, {"tags": ["rare", "none"]}, {"genres": ["common"], "tags": ["rare"]}
    for number, filters in enumerate(several):
        ask = {"user_id": f"u{number}", "candidates": None, "k": 50, "filters": filters, "explain": True}
        answer = await recommend(ranked, **ask)
        assert sorted(ids(answer)) == [item.item_id for item in rare], filters
        assert {item["source"] for item in answer["items"]} == {"by_term"}, filters
        assert codes(answer) == ["fewer_than_k"], f"{filters}: all that pass were found"
        assert answer["served_by"] == "mllm"


async def test_of_the_items_with_a_term_the_popular_ones_come_first(ranked: Gateway) -> None:
    names = await fill(ranked, 300, genres=["rare"])
    await fill(ranked, 1000)
    common = [(f"absent-{n}", 9) for n in range(400)]
    await ranked.store.cooccurrence.seed("m@1", [*common, (names[200], 2), (names[100], 3)], [])
    answer = await recommend(ranked, candidates=None, k=1, filters={"genres": ["rare"]}, explain=True)
    assert ids(answer) == [names[100]], "the score of the model is the same for all"


async def test_popular_items_that_pass_come_before_others(ranked: Gateway, model: ModelServer) -> None:
    common = await fill(ranked, 200, genres=["common"])
    rare = await fill(ranked, 60, genres=["rare"])
    await ranked.store.cooccurrence.seed("m@1", [*((name, 9) for name in common), (rare[40], 2), (rare[50], 1)], [])
    model.default = 0.5
    answer = await recommend(ranked, candidates=None, k=10, filters={"genres": ["rare"]}, explain=True)
    sources = {item["item_id"]: item["source"] for item in answer["items"]}
    assert {sources[rare[40]], sources[rare[50]]} <= {"popular", "new"}


async def test_a_search_that_ends_at_its_bound_says_so(open_ranked: OpenGateway, model: ModelServer) -> None:
    async with open_ranked("http://127.0.0.1:1", recommend=RecommendSettings(max_scanned_items=100)) as gateway:
        await fill(gateway, 400, attributes={"shelf": "common"})
        await fill(gateway, 1, attributes={"shelf": "rare"})
        answer = await recommend(gateway, candidates=None, k=10, filters={"attributes": {"shelf": "none"}})
    assert codes(answer) == ["no_candidates", "filters_exhausted"]
    assert "candidates" in answer["warnings"][1]["detail"]


async def test_an_answer_without_items_is_not_attributed_to_the_model(ranked: Gateway, model: ModelServer) -> None:
    await fill(ranked, 20, genres=["common"])
    answer = await recommend(ranked, candidates=None, filters={"genres": ["none"]})
    assert (answer["items"], answer["served_by"], answer["degraded"]) == ([], "none", False)
    assert codes(answer) == ["no_candidates"]
    assert model.requests == []
    assert (
        ranked.count("tastestream_recommendations_total", tenant="default", served_by="none", degraded_reason="") == 1
    )


@pytest.mark.parametrize(
    ("ask", "reason"),
    [
        ({"candidates": []}, "none_given"),
        ({"candidates": ["nowhere", "nowhere"]}, "unknown_item"),
        ({"candidates": ["['a']-0"]}, "seen"),
        ({"candidates": ["['a']-1"], "filters": {"genres": ["b"]}}, "filtered"),
        ({"candidates": ["['a']-0", "nowhere"]}, "mixed"),
        ({"candidates": None, "filters": {"attributes": {"x": 1}}}, "mixed"),
    ],
)
async def test_an_answer_without_items_says_why(ranked: Gateway, ask: dict[str, Any], reason: str) -> None:
    await fill(ranked, 2, genres=["a"])
    await send(ranked, "['a']-0")
    answer = await recommend(ranked, **ask)
    assert (answer["items"], answer["served_by"]) == ([], "none")
    assert [(warned["code"], warned["reason"]) for warned in answer["warnings"]] == [("no_candidates", reason)]
    assert ranked.count("tastestream_empty_recommendations_total", reason=reason) == 1


async def test_an_empty_catalogue_and_one_that_was_seen_are_distinguished(ranked: Gateway) -> None:
    assert (await recommend(ranked, candidates=None))["warnings"][0]["reason"] == "empty_catalogue"
    (only,) = await fill(ranked, 1)
    await send(ranked, only)
    assert (await recommend(ranked, candidates=None))["warnings"][0]["reason"] == "seen"


async def test_fewer_items_than_asked_for_are_a_warning_unless_fewer_were_given(ranked: Gateway) -> None:
    names = await fill(ranked, 3, genres=["a"])
    assert codes(await recommend(ranked, candidates=None, k=5)) == ["fewer_than_k"]
    assert codes(await recommend(ranked, candidates=None, k=3)) == []
    assert codes(await recommend(ranked, candidates=names, k=5)) == []
    await send(ranked, names[0])
    assert codes(await recommend(ranked, candidates=names, k=3)) == ["fewer_than_k"]
