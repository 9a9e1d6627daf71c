"""Guarantees of the options of `POST /recommend`, with a real Redis."""

from typing import Any

import pytest

from tests.redis_servers import on_both
from tests.service.conftest import Gateway
from tests.service.recommend.asking import ids, recommend
from tests.service.recommend.test_collecting import codes
from tests.service.serving import ModelServer

KETTLES = [f"kettle-{number}" for number in range(8)]


async def put(gateway: Gateway, *items: dict[str, Any]) -> None:
    full = [{"title": item["item_id"], **item} for item in items]
    assert (await gateway.ask("POST", "/items", full)).json()["accepted"] == len(items)


async def shop(gateway: Gateway) -> None:
    """Eight kettles; kettle-N costs N, those with an even number are of Acme, and the last has no attributes."""
    await put(
        gateway,
        *(
            {
                "item_id": name,
                "genres": ["kitchen", f"shelf {number // 2}"],
                "attributes": {"price": number, "brand": "Ajax" if number % 2 else "Acme"} if number < 7 else {},
            }
            for number, name in enumerate(KETTLES)
        ),
    )


async def refused(gateway: Gateway, **ask: Any) -> dict[str, Any]:
    answer = await gateway.ask("POST", "/recommend", {"user_id": "u", **ask})
    assert 400 <= answer.status_code < 500, answer.text
    body: dict[str, Any] = answer.json()
    return body


@on_both
@pytest.mark.parametrize("candidates", [None, KETTLES])
async def test_excluded_items_are_not_recommended(ranked: Gateway, candidates: list[str] | None) -> None:
    await shop(ranked)
    answer = await recommend(ranked, candidates=candidates, exclude_item_ids=[KETTLES[3], KETTLES[5], "nowhere"])
    assert sorted(ids(answer)) == sorted({*KETTLES} - {KETTLES[3], KETTLES[5]})
    skipped = [{"item_id": name, "reason": "excluded"} for name in (KETTLES[3], KETTLES[5])] if candidates else []
    assert answer["skipped"] == skipped


@pytest.mark.parametrize("candidates", [None, KETTLES])
async def test_an_answer_from_which_all_is_excluded_says_so(ranked: Gateway, candidates: list[str] | None) -> None:
    await shop(ranked)
    answer = await recommend(ranked, candidates=candidates, exclude_item_ids=KETTLES)
    assert [(warned["code"], warned["reason"]) for warned in answer["warnings"]] == [("no_candidates", "excluded")]


@pytest.mark.parametrize("given", ["i7", [7], [""], ["i"] * 1001, [None]])
async def test_excluded_ids_are_bounded_and_checked(gateway: Gateway, given: Any) -> None:
    problem = await refused(gateway, exclude_item_ids=given)
    assert problem["code"] == "invalid_request"
    assert problem["field"].startswith("exclude_item_ids")


@on_both
@pytest.mark.parametrize("candidates", [None, KETTLES])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("price < 3", {0, 1, 2}),
        ("price >= 2 and price < 6 and brand = 'Acme'", {2, 4}),
        ("brand in ('Ajax') or price not exists", {1, 3, 5, 7}),
        ("not brand = 'Acme'", {1, 3, 5, 7}),
        ("brand != 'Acme'", {1, 3, 5}),
        ("genres = 'shelf 1' and price > 2", {3}),
    ],
)
async def test_items_match_the_expression(
    ranked: Gateway, candidates: list[str] | None, text: str, expected: set[int]
) -> None:
    await shop(ranked)
    answer = await recommend(ranked, candidates=candidates, filter=text)
    assert set(ids(answer)) == {KETTLES[number] for number in expected}
    assert [one["reason"] for one in answer["skipped"]] == ["filtered"] * (8 - len(expected) if candidates else 0)


async def test_both_filters_must_be_passed(ranked: Gateway) -> None:
    await shop(ranked)
    answer = await recommend(ranked, candidates=None, filters={"genres": ["shelf 1"]}, filter="price < 3")
    assert ids(answer) == [KETTLES[2]]


async def test_few_items_of_a_genre_that_the_expression_requires_are_looked_up(
    ranked: Gateway, model: ModelServer
) -> None:
    """Of so many unpopular items, the search without the list of the genre would not find them."""
    await put(ranked, {"item_id": "rare", "genres": ["rare"], "attributes": {"price": 3}})
    for start in range(0, 3000, 1000):
        await put(ranked, *({"item_id": f"common-{start + number}", "genres": ["common"]} for number in range(1000)))
    answer = await recommend(ranked, candidates=None, filter="genres = 'rare' and price < 20", explain=True)
    assert [(item["item_id"], item["source"]) for item in answer["items"]] == [("rare", "by_term")]


@pytest.mark.parametrize("candidates", [None, KETTLES])
async def test_a_filter_that_matches_nothing_gives_an_empty_answer_that_says_so(
    ranked: Gateway, model: ModelServer, candidates: list[str] | None
) -> None:
    await shop(ranked)
    answer = await recommend(ranked, candidates=candidates, filter="colour = 'red'")
    assert (answer["items"], codes(answer)) == ([], ["no_candidates", "filter_matched_nothing"])
    assert answer["warnings"][0]["reason"] == "filtered"
    assert model.requests == []


async def test_a_wrong_expression_is_refused_with_position_and_remedy(gateway: Gateway) -> None:
    problem = await refused(gateway, filter="price == 20")
    assert (problem["status"], problem["code"], problem["field"], problem["position"]) == (
        422,
        "invalid_filter",
        "filter",
        6,
    )
    assert problem["detail"] == "filter: at character 6: unknown operator '=='; write ="


@pytest.mark.parametrize("given", [7, ["price < 3"], {"price": 3}, "x" * 4001])
async def test_an_expression_is_a_bounded_string(gateway: Gateway, given: Any) -> None:
    assert (await refused(gateway, filter=given))["field"] == "filter"


async def test_an_expression_that_is_too_long_is_answered_like_any_other_wrong_one(gateway: Gateway) -> None:
    text = "price < 3 and " * 300
    for ask in ({"filter": text}, {"boosts": [{"filter": text, "factor": 2}]}):
        problem = await refused(gateway, **ask)
        assert (problem["status"], problem["code"], problem["position"]) == (422, "invalid_filter", 4000)


@on_both
async def test_boosts_change_the_order_and_are_explained(ranked: Gateway, model: ModelServer) -> None:
    await shop(ranked)
    model.scores = {name: 0.5 + number / 100 for number, name in enumerate(KETTLES)}
    boosts = [{"filter": "price = 2", "factor": 3}, {"filter": "brand = 'Ajax'", "factor": 0.5}]
    answer = await recommend(ranked, candidates=KETTLES, boosts=boosts, k=3, explain=True)
    assert ids(answer) == [KETTLES[2], KETTLES[7], KETTLES[6]]
    first = answer["items"][0]
    assert first["score"] == pytest.approx(3 * 0.52 / 0.48 / (1 + 3 * 0.52 / 0.48), abs=1e-3)
    assert [item["components"]["boost"] for item in answer["items"]] == [3, 1, 1]
    assert codes(answer) == []


async def test_a_boost_that_matches_nothing_is_a_warning(ranked: Gateway) -> None:
    await shop(ranked)
    answer = await recommend(ranked, candidates=KETTLES, boosts=[{"filter": "colour = 'red'", "factor": 2}])
    assert codes(answer) == ["boost_unused"]
    assert "boosts.0" in answer["warnings"][0]["detail"]


@on_both
@pytest.mark.parametrize("candidates", [None, KETTLES])
async def test_caps_hold(ranked: Gateway, model: ModelServer, candidates: list[str] | None) -> None:
    await shop(ranked)
    model.scores = {name: 0.9 - number / 100 for number, name in enumerate(KETTLES)}
    answer = await recommend(ranked, candidates=candidates, k=3, max_per={"attributes.brand": 1})
    assert ids(answer) == [KETTLES[0], KETTLES[1], KETTLES[7]]
    assert answer["skipped"] == [{"item_id": name, "reason": "max_per"} for name in KETTLES[2:7]]
    assert codes(answer) == []


async def test_caps_that_leave_too_few_or_limit_nothing_are_warnings(ranked: Gateway) -> None:
    await shop(ranked)
    answer = await recommend(ranked, candidates=KETTLES, k=4, max_per={"genres": 2, "colour": 1})
    assert len(ids(answer)) == 2
    assert codes(answer) == ["max_per_unused", "max_per_short"]


@pytest.mark.parametrize(
    ("ask", "field"),
    [
        ({"boosts": [{"filter": "price < 3", "factor": 11}]}, "boosts.0.factor"),
        ({"boosts": [{"filter": "price < 3", "factor": 0.01}]}, "boosts.0.factor"),
        ({"boosts": [{"filter": "price < 3", "factor": "2"}]}, "boosts.0.factor"),
        ({"boosts": [{"filter": "price <", "factor": 2}]}, "boosts.0.filter"),
        ({"boosts": [{"factor": 2}]}, "boosts.0.filter"),
        ({"boosts": [{"filter": "a = 1", "factor": 2, "more": 1}]}, "boosts.0.more"),
        ({"boosts": [{"filter": "a = 1", "factor": 2}] * 11}, "boosts"),
        ({"max_per": {"genres": 0}}, "max_per.genres"),
        ({"max_per": {"genres": 101}}, "max_per.genres"),
        ({"max_per": {"title": 1}}, "max_per"),
        ({"max_per": {"a" * 101: 1}}, "max_per." + "a" * 100),
        ({"max_per": {f"a{number}": 1 for number in range(6)}}, "max_per"),
        ({"max_per": ["genres"]}, "max_per"),
    ],
)
async def test_wrong_rules_are_refused_and_named(gateway: Gateway, ask: dict[str, Any], field: str) -> None:
    problem = await refused(gateway, **ask)
    assert (problem["status"], problem["field"]) == (422, field)


async def test_rules_that_are_null_are_not_set(ranked: Gateway) -> None:
    await shop(ranked)
    nothing = dict.fromkeys(("exclude_item_ids", "filter", "boosts", "max_per"))
    assert len(ids(await recommend(ranked, candidates=KETTLES, **nothing))) == 8
