"""A gateway starts and closes whatever the model store and the versions do."""

import asyncio
import threading
from contextlib import AsyncExitStack
from typing import Any

import pytest

from model_store.engine.client import VllmClient
from model_store.registry.registry import Registry
from service.recommend import follow
from service.recommend.ranker import Ranker
from tests.service.recommend.rollout.asking import ask, followed
from tests.service.recommend.rollout.conftest import Follow, Models
from tests.service.serving import until


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
