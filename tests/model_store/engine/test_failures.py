"""A server that fails, is late or serves something else."""

import asyncio
from contextlib import suppress

import pytest

from model_store.engine.engine import Engine
from model_store.engine.errors import (
    ConnectionLost,
    EngineError,
    EngineOverloaded,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
)
from tests.model_store.engine.conftest import Make
from tests.model_store.engine.examples import BLOCK, CHAT, ITEM, LABELS, PROMPTS, USER
from tests.model_store.engine.fake_vllm import FakeVllm, Reply, Request, refusal, text_answer

WAIT_S = 60.0
pytestmark = pytest.mark.usefixtures("quick_retries")


class TestFailures:
    @pytest.mark.parametrize(
        ("status", "error", "attempts"),
        [
            (400, EngineRejected, 1),
            (401, EngineRejected, 1),
            (404, EngineRejected, 1),
            (429, EngineOverloaded, 3),
            (500, EngineUnavailable, 1),
            (503, EngineOverloaded, 3),
        ],
    )
    async def test_a_status_is_one_error_and_only_shed_load_is_tried_again(
        self, fake: FakeVllm, make: Make, status: int, error: type[EngineError], attempts: int
    ) -> None:
        fake.replies[CHAT] = lambda _: (status, refusal("the reason"))
        engine = make()
        with pytest.raises(error, match="the reason") as caught:
            await engine.summarize("", BLOCK)
        assert type(caught.value) is error
        assert len(fake.requests) == attempts

    async def test_a_server_that_sheds_load_once_is_asked_again(self, fake: FakeVllm, make: Make) -> None:
        replies = iter([(503, refusal("busy")), (200, text_answer("fine"))])
        fake.replies[CHAT] = lambda _: next(replies)
        engine = make()
        assert await engine.summarize("", BLOCK) == "fine"

    async def test_an_unreachable_server_is_a_lost_connection(self) -> None:
        engine = Engine("http://127.0.0.1:9", "fake", PROMPTS)
        with pytest.raises(ConnectionLost) as caught:
            await engine.summarize("", BLOCK)
        assert caught.value.code == "engine_unavailable"
        assert not await engine.healthy()
        await engine.close()

    async def test_a_late_server_times_out_and_is_disconnected(self, fake: FakeVllm, make: Make) -> None:
        async def never(request: Request) -> Reply:
            await request.disconnected.wait()
            return 200, text_answer("too late")

        fake.replies["/score"] = never
        engine = make()
        async with asyncio.timeout(WAIT_S):
            with pytest.raises(EngineTimeout):
                await engine.score(USER, [ITEM], timeout_s=2)
            await fake.requests[0].disconnected.wait()

    async def test_waiting_for_a_free_slot_counts_against_the_deadline(self, fake: FakeVllm, make: Make) -> None:
        async def never(request: Request) -> Reply:
            await request.disconnected.wait()
            return 200, text_answer("too late")

        fake.replies["/score"] = never
        engine = make(max_concurrent_calls=1)
        first = asyncio.create_task(engine.score(USER, [ITEM], timeout_s=60))
        await fake.asked.wait()
        with pytest.raises(EngineTimeout):
            await engine.score(USER, [ITEM], timeout_s=0.1)
        assert len(fake.requests) == 1
        first.cancel()

    async def test_cancelling_the_caller_disconnects(self, fake: FakeVllm, make: Make) -> None:
        async def never(request: Request) -> Reply:
            await request.disconnected.wait()
            return 200, text_answer("too late")

        fake.replies[CHAT] = fake.replies["/score"] = never
        for engine in (make(), make(mode="chat", labels=LABELS)):
            fake.requests.clear()
            fake.asked.clear()
            asking = asyncio.create_task(engine.score(USER, [ITEM]))
            async with asyncio.timeout(WAIT_S):
                await fake.asked.wait()
                asking.cancel()
                with suppress(asyncio.CancelledError):
                    await asking
                await fake.requests[0].disconnected.wait()

    async def test_the_key_is_sent(self, fake: FakeVllm, make: Make) -> None:
        engine = make(api_key="secret")
        await engine.summarize("", BLOCK)
        assert fake.requests[0].headers["authorization"] == "Bearer secret"


class TestHealth:
    async def test_a_working_server_with_the_model_is_healthy(self, fake: FakeVllm, make: Make) -> None:
        engine = make()
        assert await engine.healthy()

    async def test_a_server_of_another_model_is_not(self, fake: FakeVllm, make: Make) -> None:
        engine = make(model="other")
        assert not await engine.healthy()
        with pytest.raises(EngineRejected, match="serves fake, not other"):
            await engine.check()

    async def test_a_server_with_a_dead_engine_is_not(self, fake: FakeVllm, make: Make) -> None:
        fake.replies["/health"] = lambda _: (503, b"")
        engine = make()
        assert not await engine.healthy()
