"""Without the index of vectors, everything is answered as far as it can be, and says what is missing."""

import threading
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

import pytest

from service.index.current import Vectors
from service.index.searcher import Searcher
from service.index.vector_index import VectorIndex
from service.settings.recommend import RecommendSettings
from tests.service.conftest import Gateway, OpenGateway
from tests.service.index.faults import Remote
from tests.service.recommend.asking import fill, ids, recommend, send
from tests.service.recommend.retrieval.test_in_memory import index_of

SETTINGS = RecommendSettings(deadline_ms=30_000, embedding_share=0.5, genre_share=0)
FAULTS = pytest.mark.parametrize("fault", ["fails", "hangs"])
Fault = Literal["fails", "hangs"]


@pytest.fixture
async def index() -> AsyncIterator[Remote]:
    """Tea and pot are nearly the same."""
    index = Remote(index_of(tea=[1, 0, 0, 0], pot=[1, 0.01, 0, 0], jug=[9, 4, 0, 0], hat=[0, 1, 0, 0]))
    yield index
    index.release()


@pytest.fixture
async def gateway(open_gateway: OpenGateway, monkeypatch: pytest.MonkeyPatch, index: Remote) -> AsyncIterator[Gateway]:
    """A gateway with that index. The user `u` likes tea."""

    def remote(_: Callable[[], VectorIndex | None], searcher: Searcher) -> Vectors:
        return Vectors(lambda: index, searcher)

    monkeypatch.setattr("service.tenants.Vectors", remote)
    async with open_gateway(recommend=SETTINGS) as gateway:
        await fill(gateway, "tea", "pot", "jug", "hat")
        await gateway.store.cooccurrence.record(["tea", "hat"], [])
        await send(gateway, "tea")
        yield gateway


def codes(answer: dict[str, Any]) -> list[str]:
    return [warned["code"] for warned in answer["warnings"]]


def failures(gateway: Gateway) -> float:
    return gateway.count("tastestream_dependency_failures_total", dependency="vectors")


async def test_no_index_is_called_on_the_event_loop(gateway: Gateway, index: Remote) -> None:
    first = await recommend(gateway, candidates=None, k=1, explain=True, paged=True, exclude_seen=False)
    after = first["recommendation_id"]
    more = await recommend(gateway, candidates=None, diversity=0.5, explain=True, after=after)
    assert "embedding" in {item["source"] for item in first["items"] + more["items"]}
    assert codes(await recommend(gateway, candidates=["jug", "pot", "hat"], diversity=0.5)) == []
    assert (await gateway.ask("GET", "/items/tea/similar")).json()["items"]
    assert index.threads
    assert threading.main_thread() not in index.threads
    assert failures(gateway) == 0


@FAULTS
async def test_retrieval_goes_on_without_vectors(gateway: Gateway, index: Remote, fault: Fault) -> None:
    ask = {"candidates": None, "explain": True, "exclude_seen": False, "k": 4, "deadline_ms": 4000}
    before = await recommend(gateway, **ask)
    assert "embedding" in {item["source"] for item in before["items"]}
    assert len({"tea", "pot"} & set(ids(before))) == 1
    assert codes(before) == ["fewer_than_k"]
    index.fault = fault
    answer = await recommend(gateway, **ask)
    assert sorted(ids(answer)) == ["hat", "jug", "pot", "tea"], "nearly equal items are not told apart"
    assert "embedding" not in {item["source"] for item in answer["items"]}
    (warned,) = answer["warnings"]
    assert warned["code"] == "vectors_unavailable"
    assert "no candidates were found by them, nearly equal items may be shown" in warned["detail"]
    assert failures(gateway) == 1, "an index that did not answer is not asked again in the same request"


@FAULTS
async def test_diversity_goes_by_genres_without_vectors(gateway: Gateway, index: Remote, fault: Fault) -> None:
    index.fault = fault
    answer = await recommend(gateway, candidates=["jug", "pot", "hat"], diversity=0.5, deadline_ms=4000)
    assert len(ids(answer)) == 3
    assert codes(answer) == ["diversity_by_genres", "vectors_unavailable"]
    assert failures(gateway) == 1


async def test_what_needs_no_vectors_does_not_ask_for_them(gateway: Gateway, index: Remote) -> None:
    index.fault = "fails"
    answer = await recommend(gateway, candidates=["jug", "pot", "hat"])
    assert (len(ids(answer)), codes(answer), failures(gateway)) == (3, [], 0)


async def test_similar_items_are_those_of_likes_alone(gateway: Gateway, index: Remote) -> None:
    index.fault = "fails"
    answer = await gateway.ask("GET", "/items/tea/similar")
    assert answer.status_code == 200
    found = answer.json()
    assert [(item["item_id"], item["source"]) for item in found["items"]] == [("hat", "cooccurrence")]
    assert codes(found) == ["vectors_unavailable"]
    assert failures(gateway) == 1


async def test_when_the_index_is_back_it_is_used_at_once(gateway: Gateway, index: Remote) -> None:
    index.fault = "fails"
    assert codes(await recommend(gateway, candidates=None, k=2)) == ["vectors_unavailable"]
    index.fault = "none"
    assert codes(await recommend(gateway, candidates=None, k=2)) == []
    assert codes((await gateway.ask("GET", "/items/tea/similar")).json()) == []
