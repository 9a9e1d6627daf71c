"""What a canary does never costs an answer."""

import pytest

from tests.service.conftest import Gateway
from tests.service.recommend.rollout.asking import ask, explained, followed
from tests.service.recommend.rollout.conftest import CANDIDATES, Models
from tests.service.serving import until


class TestCanary:
    async def test_users_of_a_canary_that_fails_get_production(self, gateway: Gateway, models: Models) -> None:
        models.canary()
        await followed(gateway, lambda lineup: lineup.canary is not None)
        models.servers[2].status = 500
        answer = await ask(gateway)
        assert (answer["model"], answer["policy"], answer["degraded"]) == ("ranker@1", "fallback", False)
        fallbacks = "tastestream_rollout_fallbacks_total"
        assert gateway.count(fallbacks, model="ranker@2", reason="ranker_down") == 1
        calls = "tastestream_engine_calls_total"
        assert gateway.count(calls, engine="canary", call="score", outcome="engine_unavailable") == 1
        assert gateway.count(calls, engine="ranker", call="score", outcome="engine_unavailable") == 0
        models.servers[2].status = 200
        await until(lambda: len(models.servers[2].requests) > 0)
        answer = await ask(gateway, "another")
        assert (answer["model"], answer["policy"]) == ("ranker@2", "canary")

    async def test_a_canary_that_hangs_leaves_production_the_time_to_answer(
        self, gateway: Gateway, models: Models
    ) -> None:
        models.canary()
        await followed(gateway, lambda lineup: lineup.canary is not None)
        models.servers[2].answering.clear()
        sent = {"user_id": "u", "candidates": CANDIDATES, "deadline_ms": 6000}
        answer = (await gateway.ask("POST", "/recommend", sent)).json()
        assert (answer["model"], answer["policy"], answer["degraded"]) == ("ranker@1", "fallback", False)
        models.servers[2].answering.set()

    async def test_each_version_has_its_own_blend_and_cached_scores(self, gateway: Gateway, models: Models) -> None:
        models.servers[1].default, models.servers[2].default = 0.6, 0.7
        await gateway.ask("POST", "/events", {"user_id": "u", "item_id": "cup", "type": "click"})
        production = await ask(gateway)
        models.canary()
        await followed(gateway, lambda lineup: lineup.canary is not None)
        canary = await ask(gateway)
        assert canary["served_by"] == "mllm", "scores of another version are not its own"
        assert (await ask(gateway))["served_by"] == "cache"
        assert production["items"][0]["score"] == pytest.approx(0.6, abs=1e-4)
        assert canary["items"][0]["score"] == pytest.approx(1 / (1 + (3 / 7) ** 2), abs=1e-4), "logit(0.7), twice"

    async def test_each_version_has_its_own_item_models(self, gateway: Gateway, models: Models) -> None:
        await gateway.ask("POST", "/events", {"user_id": "u", "item_id": "pot", "type": "click"})
        assert [item["components"]["item_weights"] for item in (await explained(gateway))["items"]] == [0, 0, 0]
        models.canary()
        await followed(gateway, lambda lineup: lineup.canary is not None)
        canary = await explained(gateway)
        assert canary["items"][0]["item_id"] == "hat"
        assert [item["components"]["item_weights"] for item in canary["items"]] == [3, 0, 0]
        assert {item["item_id"]: item["components"]["item_vectors"] for item in canary["items"]} == {
            "hat": 0,
            "tea": 0.5,
            "pan": 0,
        }
        models.servers[2].status = 500
        assert [item["components"]["item_weights"] for item in (await explained(gateway, k=2))["items"]][:1] == [3]

    async def test_a_version_without_its_item_models_never_ranks(self, gateway: Gateway, models: Models) -> None:
        path = models.folder / "ranker/2/item_weights.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"!")
        models.canary()
        await followed(gateway, lambda lineup: lineup.canary_id is not None)
        waits = {"alias": "canary", "model": "ranker@2"}
        await until(lambda: gateway.count("tastestream_rollout_waiting", **waits) == 1)
        assert (await ask(gateway))["model"] == "ranker@1"

    async def test_outcomes_are_those_of_the_version_the_policy_and_the_place(
        self, gateway: Gateway, models: Models
    ) -> None:
        models.canary()
        await followed(gateway, lambda lineup: lineup.canary is not None)
        answer = await ask(gateway)
        event = {"user_id": "u", "type": "like", "recommendation_id": answer["recommendation_id"]}
        await gateway.ask("POST", "/events", {**event, "item_id": answer["items"][1]["item_id"]})
        labels = {"model": "ranker@2", "signal": "positive"}
        assert gateway.count("tastestream_version_outcomes_total", policy="canary", **labels) == 1
        assert gateway.count("tastestream_slot_outcomes_total", slot="2", **labels) == 1
        models.registry.end("ranker", "canary")
        await followed(gateway, lambda lineup: lineup.canary_id is None)
        await gateway.ask("POST", "/events", {**event, "item_id": "tea", "event_id": "later"})
        assert gateway.count("tastestream_version_outcomes_total", policy="canary", **labels) == 2, "it is remembered"
