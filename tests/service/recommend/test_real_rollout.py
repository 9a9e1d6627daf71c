"""A real model is rolled out twice under traffic: canary, compared, production, rolled back; no request fails."""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from model_store.demo import MODELS
from model_store.registry.comparison import compare
from model_store.registry.manifest import Blend
from model_store.registry.registry import Registry
from service.settings.engines import RankerSettings
from service.settings.recommend import RecommendSettings
from tests.second_version import add_second, copied, served
from tests.service.conftest import Gateway, OpenGateway
from tests.service.serving import until
from tests.vllm_servers import ServedModel

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1800)]
NAME, SHARE, USERS = "demo-ranker", 0.25, 160
ITEMS = [
    {"item_id": "boat", "title": "Red boat", "genres": ["sea"]},
    {"item_id": "cup", "title": "Plain cup", "tags": ["tea"]},
    {"item_id": "tower", "title": "Old tower", "genres": ["town"]},
]
OTHER_BLEND = Blend(mllm=0.5)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """The demo's ranker as versions 1 and 2, with different blends; 1 is in production."""
    registry = copied(Registry(MODELS), tmp_path / "models")
    add_second(registry, registry.get(f"{NAME}@1"), blend=OTHER_BLEND)
    return registry


@pytest.fixture
def second_server(registry: Registry, tmp_path: Path) -> Iterator[str]:
    """The URL of a server of version 2."""
    yield from served(registry, registry.get(f"{NAME}@2"), tmp_path / "vllm.log")


class Traffic:
    """Users who ask all the time, and what they got since `begin`."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._tasks = [asyncio.create_task(self._ask(start)) for start in range(4)]
        self.failed: list[str] = []
        self.round = 0
        self.begin()

    def begin(self) -> None:
        """Forget all answers, and those to requests that are in flight."""
        self.round += 1
        self.answers: dict[str, dict[str, Any]] = {}
        self.all: list[tuple[str, str, bool]] = []

    async def everybody(self) -> dict[str, tuple[str, str]]:
        """What ranks for each user; returns when all have asked again."""
        self.begin()
        await until(lambda: len(self.answers) == USERS, within_s=600)
        return {user: (answer["model"], answer["policy"]) for user, answer in self.answers.items()}

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ask(self, number: int) -> None:
        while True:
            user = f"user-{number % USERS}"
            ask = {"user_id": user, "candidates": [item["item_id"] for item in ITEMS], "explain": True}
            began = self.round
            response = await self._gateway.ask("POST", "/recommend", ask)
            if response.status_code != 200:
                self.failed.append(response.text)
            elif began == self.round:
                answer = response.json()
                self.answers[user] = answer
                self.all.append((answer["model"], answer["policy"], answer["degraded"]))
            number += len(self._tasks)


@pytest.fixture
async def gateway(
    open_gateway: OpenGateway, registry: Registry, ranker_server: ServedModel, second_server: str
) -> AsyncIterator[Gateway]:
    ranker = RankerSettings(
        url=ranker_server.url, version=f"{NAME}@production", allowed_urls=(second_server,), follow_every_s=0.2
    )
    patient = RecommendSettings(deadline_ms=30_000)
    async with open_gateway(ranker=ranker, model_store=Path(registry.root), recommend=patient) as gateway:
        assert (await gateway.ask("POST", "/items", ITEMS)).json()["accepted"] == len(ITEMS)
        yield gateway


async def test_a_roll_out_under_traffic(gateway: Gateway, registry: Registry, second_server: str) -> None:
    first, second = f"{NAME}@1", f"{NAME}@2"
    lineup = next(iter(gateway.app.state.rollouts.values()))
    traffic = Traffic(gateway)
    try:
        assert Counter((await traffic.everybody()).values()) == {(first, "production"): USERS}

        registry.promote(NAME, 2, "canary", share=SHARE, urls=[second_server])
        await until(lambda: lineup.lineup.canary is not None)
        by = Counter((await traffic.everybody()).values())
        assert by.keys() == {(first, "production"), (second, "canary")}
        deviation = math.sqrt(USERS * SHARE * (1 - SHARE))
        assert abs(by[second, "canary"] - USERS * SHARE) < 4 * deviation
        for answer in traffic.answers.values():
            weights = OTHER_BLEND if answer["model"] == second else registry.get(first).blend
            _require_blend(answer, weights)
        differing, _ = compare(registry.get(first), registry.get(second))
        assert "blend.mllm" in {row.name for row in differing}
        shown = {"policy": "canary", "degraded_reason": ""}
        assert gateway.count("tastestream_version_recommendations_total", model=second, **shown) >= by[second, "canary"]
        assert gateway.count("tastestream_version_rank_seconds_count", model=second) > 0

        registry.promote(NAME, 2)
        await until(lambda: lineup.lineup.production.id == second)
        assert Counter((await traffic.everybody()).values()) == {(second, "production"): USERS}

        registry.rollback(NAME)
        await until(lambda: lineup.lineup.production.id == first)
        assert Counter((await traffic.everybody()).values()) == {(first, "production"): USERS}
        assert not any(degraded for _, _, degraded in traffic.all)
    finally:
        await traffic.close()
    assert traffic.failed == []


def _require_blend(answer: dict[str, Any], weights: Blend) -> None:
    from service.recommend.blend import blended

    parts = {item["item_id"]: item["components"] for item in answer["items"]}
    mllm = {item: part["mllm"] for item, part in parts.items()}
    scored = blended(mllm, mllm, {}, {item: part["popular"] for item, part in parts.items()}, {}, weights)
    assert {one.item_id: one.score for one in scored} == pytest.approx(
        {item["item_id"]: item["score"] for item in answer["items"]}, abs=1e-5
    )
