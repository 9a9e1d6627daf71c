"""A Redis that hangs delays a caller for `redis_timeout_s`, regardless of the number of calls and tries."""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from service.errors import StateUnavailable
from service.settings import Settings
from service.settings.state import StateSettings
from service.state.store import Store
from tests.redis_servers import RedisServer
from tests.service.state.conftest import START_MS, event

TIMEOUT_S = 3.0
WITHIN_S = 2.5 * TIMEOUT_S
"""Less than three tries, or three consecutive waits, would take."""


@pytest.fixture
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("own"))
    server.start()
    yield server
    server.kill()


async def test_a_read_one_event_and_many_batches_are_refused_in_time(frozen: RedisServer) -> None:
    state = StateSettings(redis_timeout_s=TIMEOUT_S)
    store = Store(Settings(redis_url=frozen.url, state=state))
    assert await store.events.accept([event()], START_MS) == ["accepted"]
    os.kill(frozen.pid, signal.SIGSTOP)
    async with asyncio.timeout(WITHIN_S):
        with pytest.raises(StateUnavailable):
            await store.users.read("u")
    async with asyncio.timeout(WITHIN_S):
        with pytest.raises(StateUnavailable):
            await store.events.accept([event(number=1)], START_MS)
    batches = [[event(f"u{batch}", number) for number in range(200)] for batch in range(20)]
    async with asyncio.timeout(WITHIN_S):
        answers = await asyncio.gather(
            *(store.events.accept(batch, START_MS) for batch in batches), return_exceptions=True
        )
    assert all(isinstance(answer, StateUnavailable) and answer.retry_after_s for answer in answers)
    os.kill(frozen.pid, signal.SIGCONT)
    assert set(await store.events.accept(batches[0], START_MS)) <= {"accepted", "duplicate"}
    await store.close()
