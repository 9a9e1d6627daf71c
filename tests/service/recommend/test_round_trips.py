"""How many round trips to Redis a request takes."""

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from service.state.redis.pipelines import OfCluster, OfOne
from tests.redis_servers import on_both
from tests.service.conftest import Gateway
from tests.service.recommend.asking import fill, ids, recommend, send
from tests.service.serving import ModelServer

NAMES = [f"i{number}" for number in range(120)]


_OWN = ContextVar("own", default=False)
"""True in the test and in what it asks for, not in what a gateway does by itself."""


class Counted:
    """Round trips since `begin`: calls of a pipeline, concurrent or sequential."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.trips = 0
        _OWN.set(True)
        for kind in (OfOne, OfCluster):
            monkeypatch.setattr(kind, "run", self._counting(kind.run))

    def begin(self) -> None:
        self.trips = 0

    def _counting(self, run: Any) -> Any:
        async def counting(*given: Any) -> Any:
            self.trips += _OWN.get()
            return await run(*given)

        return counting


@pytest.fixture
async def filled(ranked: Gateway) -> Gateway:
    """A catalogue, likes of other users, and a user who liked three items, one of which is not in the catalogue."""
    await fill(ranked, *NAMES)
    cooccurrence = ranked.store.cooccurrence
    for start in range(40):
        await cooccurrence.record(NAMES[start : start + 3], [])
    await asyncio.gather(*(send(ranked, item) for item in (NAMES[0], NAMES[5], "of no catalogue")))
    # From now on, Redis has the scripts.
    await recommend(ranked, candidates=None, user_id="warms up")
    await recommend(ranked, user_id="u", candidates=[NAMES[9]])
    return ranked


@on_both
@pytest.mark.parametrize("cached", [False, True])
async def test_given_candidates_cost_three_round_trips_at_most(
    filled: Gateway, monkeypatch: pytest.MonkeyPatch, *, cached: bool
) -> None:
    counted = Counted(monkeypatch)
    for _ in range(1 + cached):
        counted.begin()
        answer = await recommend(filled, candidates=NAMES[:50], k=10, explain=True)
    assert len(answer["items"]) == 10
    assert answer["served_by"] == ("cache" if cached else "mllm")
    assert any(item["components"]["collaborative"] > 0 for item in answer["items"])
    assert counted.trips <= 3 - cached


@on_both
@pytest.mark.parametrize("user", ["u", "a stranger"])
async def test_retrieved_candidates_cost_five_round_trips_at_most(
    filled: Gateway, monkeypatch: pytest.MonkeyPatch, model: ModelServer, user: str
) -> None:
    counted = Counted(monkeypatch)
    answer = await recommend(filled, candidates=None, user_id=user, k=10, explain=True)
    assert len(answer["items"]) == 10
    assert answer["served_by"] == "mllm"
    assert counted.trips <= 5
    assert [len(request["documents"]) for request in model.requests][-1] >= 30


@on_both
async def test_an_empty_popularity_ranking_costs_no_more(filled: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    redis = filled.store
    await redis._scripts.run([("DEL", "ts:popular")])
    counted = Counted(monkeypatch)
    answer = await recommend(filled, candidates=None, user_id="a stranger", k=50)
    assert len(ids(answer)) == 50
    assert counted.trips <= 5


@on_both
async def test_filters_by_genre_cost_two_round_trips_more(filled: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    answer = await recommend(filled, candidates=None, k=10, filters={"genres": [f"genre of {NAMES[60]}"]})
    assert ids(answer) == [NAMES[60]]
    assert counted.trips <= 7


@on_both
async def test_similar_items_cost_three_round_trips(filled: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    answer = (await filled.ask("GET", f"/items/{NAMES[5]}/similar?k=4")).json()
    assert [item["item_id"] for item in answer["items"]] == [NAMES[4], NAMES[6], NAMES[3], NAMES[7]]
    assert counted.trips == 3
