"""The next page of a recommendation repeats nothing, for a while, and only for its user."""

import asyncio
from typing import Any

import pytest

from service.settings.recommend import RecommendSettings
from service.state import pages
from tests.redis_servers import admin_of, all_keys, on_both
from tests.service.conftest import Gateway, OpenGateway
from tests.service.recommend.asking import KEYS, fill, ids, recommend

NAMES = [f"i{number}" for number in range(7)]


async def page(gateway: Gateway, **ask: Any) -> dict[str, Any]:
    return await recommend(gateway, candidates=None, **{"k": 3, **ask})


async def refused(gateway: Gateway, after: object, user: str = "u") -> tuple[int, str]:
    answer = await gateway.ask("POST", "/recommend", {"user_id": user, "after": after})
    return answer.status_code, answer.json()["code"]


@on_both
async def test_pages_follow_until_nothing_is_left_and_repeat_nothing(ranked: Gateway) -> None:
    await fill(ranked, *NAMES)
    first = await page(ranked, paged=True)
    second = await page(ranked, after=first["recommendation_id"])
    third = await page(ranked, after=second["recommendation_id"])
    assert [len(ids(one)) for one in (first, second, third)] == [3, 3, 1]
    assert sorted(ids(first) + ids(second) + ids(third)) == NAMES
    again = await page(ranked, after=first["recommendation_id"])
    assert not set(ids(again)) & set(ids(first))
    last = await page(ranked, after=third["recommendation_id"])
    assert (ids(last), last["warnings"][0]["code"]) == ([], "no_candidates")
    assert "earlier pages" in last["warnings"][0]["detail"]


async def test_an_answer_to_a_filter_whose_items_are_on_earlier_pages_says_that_they_were_not_looked_at(
    ranked: Gateway,
) -> None:
    await fill(ranked, *NAMES)
    assert (await ranked.ask("PUT", "/items/tea", {"title": "Tea", "genres": ["tea"]})).status_code == 201
    first = await page(ranked, filter='genres = "tea"', paged=True)
    assert ids(first) == ["tea"]
    last = await page(ranked, filter='genres = "tea"', after=first["recommendation_id"])
    (said,) = [warned["detail"] for warned in last["warnings"] if warned["code"] == "filter_matched_nothing"]
    assert said.endswith("items that were seen, are excluded or on an earlier page were not looked at")


async def test_a_page_that_is_not_remembered_is_refused(ranked: Gateway) -> None:
    await fill(ranked, *NAMES)
    plain = await page(ranked)
    paged = await page(ranked, paged=True)
    assert await refused(ranked, plain["recommendation_id"]) == (410, "page_expired")
    assert await refused(ranked, paged["recommendation_id"], "another") == (410, "page_expired")
    assert (await refused(ranked, 7))[0] == 422


async def test_a_page_expires(open_gateway: OpenGateway) -> None:
    async with open_gateway(recommend=RecommendSettings(deadline_ms=30_000, page_ttl_s=0.001)) as gateway:
        await fill(gateway, *NAMES)
        first = await page(gateway, paged=True)
        await asyncio.sleep(0.01)
        assert await refused(gateway, first["recommendation_id"]) == (410, "page_expired")


@on_both
async def test_the_last_few_are_remembered_and_a_deleted_user_leaves_nothing(ranked: Gateway) -> None:
    await fill(ranked, *NAMES)
    answers = [await page(ranked, paged=True) for _ in range(pages.REMEMBERED + 1)]
    assert await refused(ranked, answers[0]["recommendation_id"]) == (410, "page_expired")
    await page(ranked, after=answers[1]["recommendation_id"])
    key = KEYS.user("u").pages
    with admin_of(ranked.settings.redis_url or "") as admin:
        assert key.encode() in all_keys(admin)
    assert (await ranked.ask("DELETE", "/users/u")).status_code == 204
    with admin_of(ranked.settings.redis_url or "") as admin:
        assert key.encode() not in all_keys(admin)
    assert not await ranked.store.pages.remember("u", "late", ["i1"], 1)


async def test_too_many_items_are_not_remembered_and_the_answer_says_so(
    ranked: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.recommend.pipeline.MOST_PAGED", 4)
    await fill(ranked, *NAMES)
    first = await page(ranked, paged=True)
    second = await page(ranked, after=first["recommendation_id"])
    assert [warned["code"] for warned in second["warnings"]] == ["page_not_kept"]
    assert await refused(ranked, second["recommendation_id"]) == (410, "page_expired")


@pytest.mark.parametrize("ask", [{}, {"deadline_ms": 2000}])
async def test_an_answer_that_could_not_be_remembered_in_time_is_given_all_the_same(
    open_gateway: OpenGateway, ask: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_gateway(recommend=RecommendSettings(deadline_ms=2000)) as gateway:
        await fill(gateway, *NAMES)

        async def hang(*_: object) -> bool:
            return await asyncio.get_running_loop().create_future()

        monkeypatch.setattr(pages.Pages, "remember", hang)
        answer = await page(gateway, paged=True, **ask)
    assert len(ids(answer)) == 3
    assert "page_not_kept" in [warned["code"] for warned in answer["warnings"]]
