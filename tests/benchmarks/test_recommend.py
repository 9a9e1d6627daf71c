"""The benchmark of `/recommend` measures what it says, with the smallest settings."""

import asyncio
from typing import Any

import pytest
from rich.progress import Progress

from model_store.demo import MODELS
from model_store.registry.registry import Registry
from tests.benchmarks.processes import bench
from tests.benchmarks.ranking_models import Ranked
from tests.benchmarks.ranking_requests import EVENTS, Traffic
from tests.benchmarks.ranking_ways import Round
from tests.benchmarks.recommend import COLUMNS, Found, Plan, compare
from tests.benchmarks.vllm import World
from tests.vllm_servers import ServedModel

CANDIDATES = 20
RECENTS = 6


def test_rates_are_compared_with_those_of_the_neighbouring_round() -> None:
    found = Found()
    for way, rates in {"raw": (100.0, 50.0), "service": (90.0, 50.0), "chat": (15.0,)}.items():
        for rate in rates:
            found.add(way, 4, Round(rate, [10.0, 30.0], hits=0.5))
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in found.rows()]
    assert [row["way"] for row in rows] == ["/recommend", "raw /score", "chat"]
    assert [row["of raw /score"] for row in rows] == ["0.95 (0.90 .. 1.00)", "1.00 (1.00 .. 1.00)", "0.20"]
    assert [(row["p50 ms"], row["p95 ms"], row["prefix hits"]) for row in rows] == [("10", "30", "50%")] * 3


@pytest.mark.vllm
@pytest.mark.timeout(1800)
def test_the_gateway_and_the_model_alone_are_asked_the_same(ranker_server: ServedModel) -> None:
    plan = Plan(requests=2, rounds=1, in_flight=[2], ways=("service", "raw"))
    world = World(60)
    people = world.people(2 * (plan.users + 1), EVENTS)
    asking, asked = people[::2], people[1::2]
    found = Found()
    with bench() as given, Progress(disable=True) as progress:
        traffic = Traffic(given, Ranked(Registry(MODELS), ranker_server.manifest), world, CANDIDATES)

        async def recorded() -> list[dict[str, Any]]:
            await traffic.prepare(people)
            return await traffic.bodies(asked)

        bodies = asyncio.run(recorded())
        assert [len(body["documents"]) for body in bodies] == [CANDIDATES] * len(asked)
        assert {document["content"][0]["type"] for body in bodies for document in body["documents"]} == {"image_url"}
        summaries = sorted(world.rule_summary(person.events) for person in asked)
        assert sorted(body["queries"].split("\n")[0] for body in bodies) == summaries
        assert all(body["queries"].count(" | ") >= RECENTS for body in bodies)
        compare(traffic, asking, bodies, ranker_server.url, plan, found, progress)
    (service,), (raw,) = found.rounds["service", 2], found.rounds["raw", 2]
    assert len(service.latencies_ms) == len(raw.latencies_ms) == 2
    assert service.own_ms is not None
    assert 0 < service.own_ms < min(service.latencies_ms)
    # Each candidate's prompt shares its user's; none is asked about twice.
    assert 0.3 < (service.hits or 0) < 0.95
    assert 0.3 < (raw.hits or 0) < 0.95
