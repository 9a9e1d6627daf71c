"""A gateway finds items by their vectors in Redis, also those that nobody has met, and names that source."""

import numpy as np

from service.settings.engines import EmbedderSettings
from service.settings.recommend import RecommendSettings
from service.state.records import Item
from tests.service.conftest import Gateway, OpenGateway
from tests.service.recommend.asking import fill, ids, recommend, send
from tests.stores import embed
from tests.workers.conftest import until

VERSION = "shop-embedder@1"
EMBEDDER = EmbedderSettings(url="http://127.0.0.1:1", version=VERSION, poll_s=0.02)
SETTINGS = RecommendSettings(deadline_ms=30_000, retrieve=10, new_items_share=0, embedding_share=0.5, genre_share=0)
ANGLES = {"tea": 0.0, "pot": 0.1, "jug": 0.3, "hat": 1.5, "cap": 1.6}


def vector(item: Item) -> list[float]:
    angle = ANGLES[item.item_id]
    return [float(np.cos(angle)), float(np.sin(angle))]


async def stock(gateway: Gateway) -> None:
    """A catalogue with vectors that nobody has met, in use."""
    await fill(gateway, *ANGLES)
    assert await embed(gateway.store, lambda item: {VERSION: vector(item)}) == len(ANGLES)
    if await gateway.store.embeddings.pointer() is None:
        await gateway.store.embeddings.use(VERSION, None)


async def sources(gateway: Gateway) -> dict[str, str]:
    answer = await recommend(gateway, candidates=None, explain=True)
    return {item["item_id"]: item["source"] for item in answer["items"]}


async def test_what_nobody_has_met_is_found_by_its_vector(open_gateway: OpenGateway) -> None:
    async with open_gateway(recommend=SETTINGS, embedder=EMBEDDER) as gateway:
        await stock(gateway)
        await send(gateway, "tea")

        async def found() -> bool:
            return (await sources(gateway)).get("pot") == "embedding"

        await until(found)
        answer = await sources(gateway)
        assert list(answer)[:2] == ["pot", "jug"]
        similar = (await gateway.ask("GET", "/items/tea/similar?k=2")).json()
        assert [(item["item_id"], item["source"]) for item in similar["items"]] == [
            ("pot", "embedding"),
            ("jug", "embedding"),
        ]


async def test_a_deleted_item_and_what_the_user_has_seen_are_not_found(open_gateway: OpenGateway) -> None:
    async with open_gateway(recommend=SETTINGS, embedder=EMBEDDER) as gateway:
        await stock(gateway)
        await send(gateway, "tea")
        await send(gateway, "hat", "dislike")
        assert (await gateway.ask("DELETE", "/items/pot")).status_code == 204

        async def found() -> bool:
            return (await sources(gateway)).get("jug") == "embedding"

        await until(found)
        assert not {"tea", "hat", "pot"} & (await sources(gateway)).keys()


async def test_without_vectors_recommendations_are_made_as_before(open_gateway: OpenGateway) -> None:
    async with open_gateway(recommend=SETTINGS, embedder=EMBEDDER) as gateway:
        await fill(gateway, *ANGLES)
        await send(gateway, "tea")
        answer = await recommend(gateway, candidates=None)
        assert set(ids(answer)) == ANGLES.keys() - {"tea"}


async def test_without_a_share_vectors_find_nothing_and_order_no_new_items(open_gateway: OpenGateway) -> None:
    """What the user would like is older than the rest, so that by age alone it comes last."""
    settings = SETTINGS.model_copy(update={"embedding_share": 0.0, "new_items_share": 0.1})
    async with open_gateway(recommend=settings, embedder=EMBEDDER) as gateway:
        for name in ANGLES:
            await fill(gateway, name)
        await stock(gateway)
        await send(gateway, "tea")

        async def searched() -> bool:
            return bool((await gateway.ask("GET", "/items/tea/similar?k=2")).json()["items"])

        await until(searched)
        found = await sources(gateway)
        assert found.keys() == ANGLES.keys() - {"tea", "hat"}, "the hat is nearly the cap"
        assert "embedding" not in found.values()
        assert [item for item, source in found.items() if source == "new"] == ["cap"]


async def test_no_page_has_an_item_nearly_the_same_as_one_of_an_earlier_page(open_gateway: OpenGateway) -> None:
    """Tea and pot are nearly the same, and hat and cap."""
    async with open_gateway(recommend=SETTINGS, embedder=EMBEDDER) as gateway:
        await stock(gateway)

        async def searched() -> bool:
            return bool((await gateway.ask("GET", "/items/tea/similar?k=2")).json()["items"])

        await until(searched)
        pages = [await recommend(gateway, candidates=None, k=1, paged=True)]
        for k in (1, 1, 3):
            pages.append(await recommend(gateway, candidates=None, k=k, after=pages[-1]["recommendation_id"]))
        shown = [item for page in pages for item in ids(page)]
        assert [len(ids(page)) for page in pages] == [1, 1, 1, 0]
        assert len({"tea", "pot"} & set(shown)) == len({"hat", "cap"} & set(shown)) == 1
        assert {skipped["reason"] for skipped in pages[-1]["skipped"]} == {"near_duplicate"}
        (warned,) = pages[-1]["warnings"]
        assert (warned["code"], warned["detail"]) == (
            "fewer_than_k",
            "2 items are nearly the same as others, which leaves 0; k is 3",
        )


async def test_an_answer_is_full_although_some_popular_items_are_nearly_equal(open_gateway: OpenGateway) -> None:
    """The most popular items are a pair of nearly equal ones, and k is larger than the usual number of candidates."""
    names = [f"i{number}" for number in range(25)]

    def apart(item: Item) -> list[float]:
        angle = 0.2 * max(1, names.index(item.item_id))
        return [float(np.cos(angle)), float(np.sin(angle))]

    settings = SETTINGS.model_copy(update={"retrieve": 10})
    async with open_gateway(recommend=settings, embedder=EMBEDDER) as gateway:
        await fill(gateway, *names)
        for place, name in enumerate(names):
            for _ in range(len(names) - place):
                await gateway.store.cooccurrence.record([name], [])
        assert await embed(gateway.store, lambda item: {VERSION: apart(item)}) == len(names)
        await gateway.store.embeddings.use(VERSION, None)

        async def searched() -> bool:
            return bool((await gateway.ask("GET", "/items/i9/similar?k=2")).json()["items"])

        await until(searched)
        answer = await recommend(gateway, candidates=None, k=20)
        assert [skipped["reason"] for skipped in answer["skipped"]] == ["near_duplicate"]
        assert len(ids(answer)) == 20
        assert answer["warnings"] == []
