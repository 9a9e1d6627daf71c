"""A promotion takes effect in a running gateway."""

import math
from collections import Counter

import pytest

from service.recommend import follow
from tests.service.conftest import Gateway
from tests.service.recommend.rollout.asking import USERS, ask, followed, ranked_by
from tests.service.recommend.rollout.conftest import Follow, Models
from tests.service.serving import until


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
