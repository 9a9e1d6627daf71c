"""A promotion takes effect in a running gateway, and what a canary or a shadow does never costs an answer."""

import asyncio
import math
import threading
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from model_store.engine.client import VllmClient
from model_store.item_models.item_models import ItemModels
from model_store.item_models.item_vectors import ItemVectors
from model_store.item_models.item_weights import ItemWeights
from model_store.prompts import BUILT_IN
from model_store.registry.manifest import Blend, Manifest
from model_store.registry.registry import Registry
from service.recommend import follow
from service.recommend.ranker import Ranker
from service.recommend.rollout import Lineup, place
from service.recommend.shadow import spearman
from service.settings.engines import RankerSettings
from service.settings.recommend import RecommendSettings
from tests.service.conftest import Gateway, OpenGateway
from tests.service.recommend.asking import fill
from tests.service.serving import ModelServer, serving, until

FOLLOW_S = 0.05
USERS = [f"user-{number}" for number in range(300)]
CANDIDATES = ["tea", "pan", "hat"]


class Models:
    """A model store with `ranker@1` in production and `ranker@2`, a server for each, and a gateway that follows."""

    def __init__(self, folder: Path, weights: Path) -> None:
        self.folder = folder
        self.registry = Registry(folder)
        self.servers = {number: ModelServer(serves=[f"ranker@{number}"]) for number in (1, 2)}
        self.urls: dict[int, str] = {}
        pot_to_hat = ItemWeights(("hat", "pot"), array("I", [0, 1, 1]), array("I", [1]), array("f", [3.0]))
        tea_like_pot = ItemVectors(("tea", "pot"), array("f", [0.5, 1.0]), array("f", [1.0]))
        models = ItemModels(pot_to_hat, tea_like_pot)
        own = {1: {}, 2: self.registry.write_item_models("ranker", 2, models)}
        for number, blend in (1, Blend(collaborative=0.5)), (2, Blend(mllm=2.0, item_weights=1.0)):
            manifest = Manifest(name="ranker", version=number, role="ranker", blend=blend, **own[number])
            self.registry.add(manifest, BUILT_IN / "compact", weights)
        self.registry.promote("ranker", 1)

    def canary(self, share: float = 1.0, **more: Any) -> None:
        self.registry.promote("ranker", 2, "canary", share=share, **{"urls": [self.urls[2]], **more})


@pytest.fixture
async def models(tmp_path: Path) -> AsyncIterator[Models]:
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(b"")
    models = Models(tmp_path / "models", weights)
    async with AsyncExitStack() as stack:
        for number, server in models.servers.items():
            models.urls[number] = await stack.enter_async_context(serving(server.app()))
        yield models


Follow = Callable[..., Any]


@pytest.fixture
def following(open_gateway: OpenGateway, models: Models) -> Follow:
    """Opens a gateway that follows `models`."""

    @asynccontextmanager
    async def opened(*, recommend: dict[str, Any] | None = None, **ranker: Any) -> AsyncIterator[Gateway]:
        given = {"url": models.urls[1], "version": "ranker@production", "allowed_urls": ("http://127.0.0.1",), **ranker}
        settings = RankerSettings(**given, follow_every_s=FOLLOW_S, timeout_s=60.0, connect_timeout_s=20.0)
        asked = RecommendSettings(**{"deadline_ms": 30_000, **(recommend or {})})
        async with open_gateway(ranker=settings, model_store=models.folder, recommend=asked) as gateway:
            await fill(gateway, *CANDIDATES)
            yield gateway

    return opened


@pytest.fixture
async def gateway(following: Follow) -> AsyncIterator[Gateway]:
    async with following() as gateway:
        yield gateway


async def ask(gateway: Gateway, user: str = "u") -> dict[str, Any]:
    answer = await gateway.ask("POST", "/recommend", {"user_id": user, "candidates": CANDIDATES})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def explained(gateway: Gateway, **more: Any) -> dict[str, Any]:
    sent = {"user_id": "u", "candidates": CANDIDATES, "explain": True, **more}
    answer: dict[str, Any] = (await gateway.ask("POST", "/recommend", sent)).json()
    return answer


async def ranked_by(gateway: Gateway, users: list[str]) -> dict[str, tuple[str, str]]:
    answers = [await ask(gateway, user) for user in users]
    return {answer["user_id"]: (answer["model"], answer["policy"]) for answer in answers}


async def followed(gateway: Gateway, condition: Callable[[Lineup], bool]) -> None:
    (rollout,) = {id(one): one for one in _rollouts(gateway)}.values()
    await until(lambda: condition(rollout.lineup))


def _rollouts(gateway: Gateway) -> Any:
    return gateway.app.state.rollouts.values()


class TestFollowing:
    async def test_a_canary_ranks_for_its_share_until_it_is_production_and_is_rolled_back(
        self, gateway: Gateway, models: Models
    ) -> None:
        assert set((await ranked_by(gateway, USERS[:5])).values()) == {("ranker@1", "production")}
        models.canary(0.1)
        await followed(gateway, lambda lineup: lineup.canary is not None)
        first = await ranked_by(gateway, USERS)
        counts = Counter(first.values())
        assert counts.keys() == {("ranker@1", "production"), ("ranker@2", "canary")}
        expected, deviation = len(USERS) * 0.1, math.sqrt(len(USERS) * 0.1 * 0.9)
        assert abs(counts["ranker@2", "canary"] - expected) < 4 * deviation
        models.canary(0.4)
        await followed(gateway, lambda lineup: lineup.share == 0.4)
        second = await ranked_by(gateway, USERS)
        canary = {user for user, by in first.items() if by == ("ranker@2", "canary")}
        assert canary < {user for user, by in second.items() if by == ("ranker@2", "canary")}, "they keep their version"
        models.registry.promote("ranker", 2)
        await followed(gateway, lambda lineup: bool(lineup.production and lineup.production.id == "ranker@2"))
        assert set((await ranked_by(gateway, USERS[:30])).values()) == {("ranker@2", "production")}
        models.registry.rollback("ranker")
        await followed(gateway, lambda lineup: bool(lineup.production and lineup.production.id == "ranker@1"))
        assert set((await ranked_by(gateway, USERS[:30])).values()) == {("ranker@1", "production")}
        shown = "tastestream_version_recommendations_total"
        total = sum(
            gateway.count(shown, model=model, policy=policy, degraded_reason="")
            for model in ("ranker@1", "ranker@2")
            for policy in ("production", "canary")
        )
        assert total == 5 + 2 * len(USERS) + 60
        assert gateway.count(shown, model="ranker@2", policy="canary", degraded_reason="") >= len(canary)

    async def test_a_version_waits_for_a_server_and_production_stays(self, gateway: Gateway, models: Models) -> None:
        models.servers[2].serves = ["another"]
        models.registry.promote("ranker", 2, urls=[models.urls[2]])
        labels = {"alias": "production", "model": "ranker@2"}
        await until(lambda: gateway.count("tastestream_rollout_waiting", **labels) == 1)
        assert (await ask(gateway))["model"] == "ranker@1"
        models.servers[2].serves = ["ranker@2"]
        await followed(gateway, lambda lineup: bool(lineup.production and lineup.production.id == "ranker@2"))
        assert gateway.count("tastestream_rollout_waiting", **labels) == 0
        assert gateway.count("tastestream_rollout_users_ratio", **labels) == 1
        assert gateway.count("tastestream_rollout_users_ratio", alias="production", model="ranker@1") == 0

    async def test_servers_that_are_not_allowed_are_never_asked(self, following: Follow, models: Models) -> None:
        async with following(allowed_urls=("http://127.0.0.1:1",)) as gateway:
            models.canary()
            await until(lambda: gateway.count("tastestream_rollout_waiting", alias="canary", model="ranker@2") == 1)
            assert (await ranked_by(gateway, ["u"])) == {"u": ("ranker@1", "fallback")}
        assert models.servers[2].listed == 0

    async def test_servers_of_the_settings_are_told_apart_by_what_they_serve(
        self, following: Follow, models: Models
    ) -> None:
        async with following(url=f"{models.urls[2]},{models.urls[1]}", allowed_urls=()) as gateway:
            for user in USERS[:20]:
                assert not (await ask(gateway, user))["degraded"], "asked a server of the other version"
            models.canary(urls=[])
            await followed(gateway, lambda lineup: lineup.canary is not None)
            assert set((await ranked_by(gateway, USERS[:20])).values()) == {("ranker@2", "canary")}

    async def test_a_server_that_is_restarted_with_the_promoted_version_is_found(
        self, gateway: Gateway, models: Models
    ) -> None:
        models.registry.promote("ranker", 2)
        await until(lambda: gateway.count("tastestream_rollout_waiting", alias="production", model="ranker@2") == 1)
        models.servers[1].serves = ["ranker@2"]
        await followed(gateway, lambda lineup: bool(lineup.production and lineup.production.id == "ranker@2"))
        assert not (await ask(gateway))["degraded"]

    @pytest.mark.parametrize("damage", ["broken", "vanished"])
    async def test_while_the_store_can_not_be_read_the_last_lineup_stays(
        self, gateway: Gateway, models: Models, damage: str
    ) -> None:
        models.canary()
        await followed(gateway, lambda lineup: lineup.canary is not None)
        file = models.folder / "ranker/aliases.toml"
        content = file.read_text()
        if damage == "broken":
            file.write_text("canary = ")
        else:
            file.unlink()
        await until(lambda: gateway.count("tastestream_rollout_stale", name="ranker") == 1)
        assert (await ranked_by(gateway, ["u"])) == {"u": ("ranker@2", "canary")}
        file.write_text(content)
        models.registry.end("ranker", "canary")
        await followed(gateway, lambda lineup: lineup.canary_id is None)
        assert gateway.count("tastestream_rollout_stale", name="ranker") == 0

    async def test_a_number_in_the_settings_is_not_followed(self, following: Follow, models: Models) -> None:
        models.canary()
        async with following(version="ranker@1") as gateway:
            assert (await ranked_by(gateway, ["u"])) == {"u": ("ranker@1", "production")}

    async def test_what_is_no_longer_asked_is_closed_and_not_shown(
        self, gateway: Gateway, models: Models, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(follow, "_GRACE_S", 0.0)
        info = {"role": "canary", "model": "ranker@2", "mode": "score"}
        models.canary()
        await until(lambda: gateway.count("tastestream_model_info", **info) == 1)
        models.registry.end("ranker", "canary")
        await until(lambda: gateway.count("tastestream_model_info", **info) == 0)


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


class TestArithmetic:
    def test_places_are_uniform_and_differ_between_versions(self) -> None:
        places = sorted(place(user, "a@1") for user in USERS)
        assert max(abs(one - rank / len(USERS)) for rank, one in enumerate(places)) < 1.63 / math.sqrt(len(USERS))
        both = sum(place(user, "a@1") < 0.5 and place(user, "a@2") < 0.5 for user in USERS)
        assert abs(both - len(USERS) / 4) < 4 * math.sqrt(len(USERS) * 3 / 16)

    def test_shares_nought_and_one(self) -> None:
        for user in USERS:
            assert Lineup(canary_id="a@2", share=0.0).choose(user).policy == "production"
            assert Lineup(canary_id="a@2", share=1.0).choose(user).policy == "canary"

    def test_spearman_of_known_orders(self) -> None:
        assert spearman("abcd", "abcd") == 1
        assert spearman("abcd", "dcba") == -1
        assert spearman("abcd", "bacd") == pytest.approx(0.8)
        assert spearman("a", "a") is None


async def test_a_read_that_fails_after_its_time_does_not_keep_a_gateway_from_closing(
    following: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    followers: list[follow.Follower] = []
    may_fail = threading.Event()
    start = follow.Follower.start

    async def started(self: follow.Follower) -> None:
        followers.append(self)
        await start(self)

    def hanging(self: Registry, name: str) -> None:
        may_fail.wait(60)
        raise OSError("the store is gone")

    monkeypatch.setattr(follow, "_READ_TIMEOUT_S", 0.05)
    monkeypatch.setattr(follow.Follower, "start", started)
    async with following() as gateway:
        (follower,) = followers
        monkeypatch.setattr(Registry, "histories", hanging)
        await until(lambda: gateway.count("tastestream_rollout_stale", name="ranker") == 1)
        assert follower._task is not None
        follower._task.cancel()
        may_fail.set()
        await until(lambda: follower._reading is not None and follower._reading.done())


async def test_the_start_does_not_wait_for_a_store_that_hangs(
    following: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = asyncio.Event()

    async def hanging(self: follow.Follower) -> None:
        await blocked.wait()

    monkeypatch.setattr(follow.Follower, "_read", hanging)
    monkeypatch.setattr(follow, "_START_S", 0.05)
    async with following() as gateway:
        assert (await ask(gateway))["model"] == "ranker@1"


async def test_a_version_that_is_being_opened_when_a_gateway_closes_is_closed_too(
    following: Follow, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_open, opened = threading.Event(), threading.Event(), threading.Event()
    open_ranker, close = follow.open_ranker, follow.Follower.close

    def slowly(*given: Any) -> Ranker | None:
        begun.set()
        may_open.wait(60)
        ranker = open_ranker(*given)
        opened.set()
        return ranker

    async def closed(self: follow.Follower) -> None:
        closing = asyncio.create_task(close(self))
        await asyncio.sleep(0)
        may_open.set()
        await closing

    monkeypatch.setattr(follow, "open_ranker", slowly)
    monkeypatch.setattr(follow.Follower, "close", closed)
    async with following() as gateway:
        models.canary()
        await until(begun.is_set)
    await until(opened.is_set)
    assert gateway.count("tastestream_model_info", role="canary", model="ranker@2", mode="score") == 0


async def test_a_version_that_can_not_be_closed_does_not_keep_others_open(
    following: Follow, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = VllmClient.close
    closed = set[str]()

    async def failing(self: VllmClient) -> None:
        await close(self)
        if self.url not in closed:
            closed.add(self.url)
            raise OSError("no such connection")

    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(following())
        models.canary()
        await followed(gateway, lambda lineup: lineup.canary is not None)
        monkeypatch.setattr(VllmClient, "close", failing)
        with pytest.raises(OSError, match="no such connection"):
            await stack.aclose()
    assert closed == set(models.urls.values())
    assert gateway.count("tastestream_model_info", role="canary", model="ranker@2", mode="score") == 0
