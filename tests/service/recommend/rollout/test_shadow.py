"""What a shadow does never costs an answer."""

import pytest

from tests.service.conftest import Gateway
from tests.service.recommend.rollout.asking import ask, followed
from tests.service.recommend.rollout.conftest import CANDIDATES, Follow, Models
from tests.service.serving import until


class TestShadow:
    @pytest.fixture
    async def shadowed(self, gateway: Gateway, models: Models) -> Gateway:
        models.registry.promote("ranker", 2, "shadow", urls=[models.urls[2]])
        await followed(gateway, lambda lineup: lineup.shadow is not None)
        return gateway

    async def test_it_is_compared_and_never_shown(self, shadowed: Gateway, models: Models) -> None:
        models.servers[1].scores = {"tea": 0.9, "pan": 0.5, "hat": 0.1}
        models.servers[2].scores = {"tea": 0.1, "pan": 0.5, "hat": 0.9}
        answer = await ask(shadowed)
        assert (answer["model"], answer["policy"]) == ("ranker@1", "production")
        assert [item["item_id"] for item in answer["items"]] == CANDIDATES
        await until(lambda: self.outcome(shadowed, "compared") == 1)
        assert shadowed.count("tastestream_shadow_score_difference_sum", model="ranker@2") == pytest.approx(1.6 / 3)
        assert shadowed.count("tastestream_shadow_rank_correlation_bucket", model="ranker@2", le="-0.5") == 1

    async def test_it_is_compared_with_its_own_item_models(self, shadowed: Gateway, models: Models) -> None:
        await shadowed.ask("POST", "/events", {"user_id": "u", "item_id": "pot", "type": "click"})
        answer = await ask(shadowed)
        assert [item["item_id"] for item in answer["items"]] == CANDIDATES, "the shadow has hat first"
        await until(lambda: self.outcome(shadowed, "compared") == 1)
        assert shadowed.count("tastestream_shadow_rank_correlation_bucket", model="ranker@2", le="-0.5") == 1

    async def test_a_shadow_that_fails_is_counted(self, shadowed: Gateway, models: Models) -> None:
        models.servers[2].status = 500
        assert not (await ask(shadowed))["degraded"]
        await until(lambda: self.outcome(shadowed, "failed") == 1)

    async def test_it_is_dropped_under_load_and_when_too_many_wait(
        self, following: Follow, models: Models, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bounds = {"max_waiting_shadows": 1, "max_concurrent_shadows": 1}
        async with following(recommend=bounds) as gateway:
            models.registry.promote("ranker", 2, "shadow", urls=[models.urls[2]])
            await followed(gateway, lambda lineup: lineup.shadow is not None)
            models.servers[2].answering.clear()
            await ask(gateway)
            await until(lambda: len(models.servers[2].requests) == 1)
            for user in ("second", "third"):
                await ask(gateway, user)
            assert self.outcome(gateway, "queue_full") == 1
            pressure = gateway.app.state.pressure
            monkeypatch.setattr(pressure, "update", lambda *_: None)
            pressure.level = 0.1
            await ask(gateway, "fourth")
            assert self.outcome(gateway, "load") == 1
            models.servers[2].answering.set()
            await until(lambda: self.outcome(gateway, "compared") == 2)

    @staticmethod
    def outcome(gateway: Gateway, name: str) -> float:
        return gateway.count("tastestream_shadow_total", model="ranker@2", outcome=name)
