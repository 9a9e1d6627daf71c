"""A request takes the index of the items' vectors once, so that it never mixes the vectors of two versions."""

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from service.index.current import Vectors
from service.index.searcher import Searcher
from service.index.vector_index import VectorIndex
from service.settings.engines import EmbedderSettings
from service.settings.recommend import RecommendSettings
from service.state.records import Item
from tests.service.conftest import Gateway, OpenGateway
from tests.service.recommend.test_endpoints import fill, ids, recommend, send
from tests.service.serving import ModelServer, serving, until
from tests.stores import embed

FIRST, SECOND = "shop-embedder@1", "shop-embedder@2"
ANGLES = {FIRST: {"tea": 0.0, "pot": 0.1, "hat": 1.5}, SECOND: {"tea": 0.0, "pot": 1.5, "hat": 0.1}}
EMBEDDER = EmbedderSettings(url="http://127.0.0.1:1", version=FIRST, poll_s=0.02)
SETTINGS = RecommendSettings(deadline_ms=30_000, embedding_share=0.5)


def vectors(item: Item) -> dict[str, list[float]]:
    angles = {version: angle[item.item_id] for version, angle in ANGLES.items()}
    return {version: [float(np.cos(angle)), float(np.sin(angle))] for version, angle in angles.items()}


async def use(gateway: Gateway, version: str) -> None:
    """Have the gateway change over to the index of a version."""

    def loads() -> float:
        return gateway.count("tastestream_index_loads_total", source="redis")

    before, embeddings = loads(), gateway.store.embeddings
    await embeddings.use(version, await embeddings.pointer())
    await until(lambda: loads() > before)


async def stock(gateway: Gateway) -> None:
    """A catalogue with vectors of both versions, of which the first is in use."""
    await fill(gateway, *ANGLES[FIRST])
    assert await embed(gateway.store, vectors) == len(ANGLES[FIRST])
    await use(gateway, FIRST)


async def test_an_index_that_takes_over_during_a_request_is_for_the_next_one(
    open_ranked: OpenGateway, model: ModelServer
) -> None:
    """What is least like the tea comes second: the hat by the first version, the pot by the other one."""
    model.scores = {"tea": 0.9}
    ask = {"candidates": ["tea", "pot", "hat"], "diversity": 1.0}
    async with serving(model.app()) as url, open_ranked(url, recommend=SETTINGS, embedder=EMBEDDER) as gateway:
        await stock(gateway)
        model.answering.clear()
        asking = asyncio.create_task(recommend(gateway, **ask))
        await until(lambda: bool(model.requests))
        await use(gateway, SECOND)
        model.answering.set()
        assert ids(await asking) == ["tea", "hat", "pot"]
        assert ids(await recommend(gateway, **ask)) == ["tea", "pot", "hat"]


async def test_a_request_takes_the_index_once(open_gateway: OpenGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[VectorIndex | None] = []

    def watched(current: Callable[[], VectorIndex | None], searcher: Searcher) -> Vectors:
        def take() -> VectorIndex | None:
            taken.append(current())
            return taken[-1]

        return Vectors(take, searcher)

    monkeypatch.setattr("service.tenants.Vectors", watched)
    async with open_gateway(recommend=SETTINGS, embedder=EMBEDDER) as gateway:
        await stock(gateway)
        await send(gateway, "tea")
        taken.clear()
        answer = await recommend(gateway, candidates=None, diversity=0.5, explain=True)
        assert "embedding" in {item["source"] for item in answer["items"]}
        assert [index and index.version for index in taken] == [FIRST]
        assert (await gateway.ask("GET", "/items/tea/similar")).json()["items"]
        assert [index and index.version for index in taken] == [FIRST, FIRST]
