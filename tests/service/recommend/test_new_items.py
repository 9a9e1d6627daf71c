"""New items without likes are among the retrieved candidates."""

import asyncio
from typing import Any

import pytest

from service.settings.recommend import RecommendSettings
from service.state.new_items import MOST
from tests.redis_servers import admin_of, on_both
from tests.service.conftest import Gateway, OpenGateway
from tests.service.recommend.asking import recommend, send
from tests.service.recommend.test_collecting import fill
from tests.service.serving import ModelServer, serving


async def known(gateway: Gateway) -> None:
    """A catalogue of which every item was liked."""
    names = await fill(gateway, 300, genres=["known"])
    await gateway.store.cooccurrence.seed("m@1", [(name, 2) for name in names], [])


async def put(gateway: Gateway, item: str = "fresh") -> None:
    assert (await gateway.ask("PUT", f"/items/{item}", {"title": item})).status_code in {200, 201}


def sources(answer: dict[str, Any]) -> dict[str, str]:
    return {item["item_id"]: item["source"] for item in answer["items"]}


@on_both
async def test_a_new_item_that_the_model_likes_is_recommended(ranked: Gateway, model: ModelServer) -> None:
    await known(ranked)
    await put(ranked)
    model.scores = {"fresh": 0.9}
    answer = await recommend(ranked, candidates=None, k=100, explain=True)
    assert len(answer["items"]) == 100
    assert answer["items"][0]["item_id"] == "fresh"
    assert list(sources(answer).values()).count("new") == 11, "a tenth of 110 candidates"


async def test_a_new_item_is_not_retrieved_once_it_was_seen_or_deleted(
    ranked: Gateway, model: ModelServer, redis_url: str
) -> None:
    await known(ranked)
    await put(ranked)
    model.scores = {"fresh": 0.9}
    await send(ranked, "fresh", user="v")
    assert "fresh" not in sources(await recommend(ranked, candidates=None, user_id="v", explain=True))
    await ranked.ask("DELETE", "/items/fresh")
    assert "fresh" not in sources(await recommend(ranked, candidates=None, explain=True))
    with admin_of(redis_url) as admin:
        assert admin.zscore("ts:new", "fresh") is None


@pytest.mark.parametrize("settings", [RecommendSettings(new_items_share=0), RecommendSettings(new_items_s=0.001)])
async def test_an_item_is_new_for_as_long_as_the_settings_say(
    open_ranked: OpenGateway, model: ModelServer, settings: RecommendSettings
) -> None:
    async with (
        serving(model.app()) as url,
        open_ranked(url, recommend=settings.model_copy(update={"deadline_ms": 30_000})) as gateway,
    ):
        await known(gateway)
        await put(gateway)
        found = {"new"}
        async with asyncio.timeout(300):
            # An item may be read in the millisecond in which it was put.
            while "new" in found:
                found = set(sources(await recommend(gateway, candidates=None, k=100, explain=True)).values())
        assert found == {"popular"}


async def test_the_newest_and_others_in_turns_are_sampled_the_same_for_one_user(ranked: Gateway) -> None:
    new = ranked.store.new_items
    for number in range(0, MOST + 200, 100):
        await new.add([f"{place:05}" for place in range(number, number + 100)])

    async def sampled(user: str) -> list[str]:
        wave = ranked.store.wave()
        answer = wave.add(new.sample(user, 30, 3600))
        await wave.send()
        return answer.value()

    samples = [await sampled(f"u{number}") for number in range(20)]
    assert len({tuple(sample) for sample in samples}) > 10
    assert all(20 <= len(set(sample)) == len(sample) <= 30 for sample in samples)
    assert all(int(item) >= 200 for sample in samples for item in sample), "the oldest are gone"
    assert len({item for sample in samples for item in sample}) > 200
