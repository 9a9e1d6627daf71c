"""The proxy itself: what a strike held reaches Redis and is answered, whoever still waits for it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.settings.state import StateSettings
from tests.faults.backend import SingleRedis, load_scripts, scripts
from tests.faults.redis_proxy import RedisProxy

SETTINGS = StateSettings()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[SingleRedis]:
    redis = SingleRedis(tmp_path)
    load_scripts(redis.url, SETTINGS)
    yield redis
    redis.close()


async def test_a_command_of_a_caller_that_hung_up_is_carried_out_and_its_answer_is_seen(redis: SingleRedis) -> None:
    async with RedisProxy(redis.socket, SETTINGS) as proxy:
        hold, answered = proxy.hold("due", "before"), proxy.strike("due", "after", nothing)
        _, writer = await asyncio.open_connection("127.0.0.1", int(proxy.url.rpartition(":")[2]))
        words = ("EVALSHA", scripts(SETTINGS)["due"].sha, "1", "ts:{b0}:summarize_due", "0")
        writer.write("".join([f"*{len(words)}\r\n", *(f"${len(word)}\r\n{word}\r\n" for word in words)]).encode())
        await hold.wait()
        writer.close()
        await writer.wait_closed()
        hold.release()
        await answered.done()


async def nothing() -> None: ...
