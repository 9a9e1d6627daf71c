"""The batcher of the encoder ends: whoever waits is told, and the event loop goes on."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from service.encoder.batching import Batcher
from service.metrics import Metrics


async def test_closing_cancels_whoever_waits_without_stopping_the_loop() -> None:
    started, may_go_on = threading.Event(), threading.Event()

    def encode(pictures: Sequence[bytes]) -> list[bytes]:
        started.set()
        assert may_go_on.wait(300)
        return list(pictures)

    batcher = Batcher(encode, 1, 10, Metrics())
    encoded, waiting = (asyncio.create_task(batcher.encode(picture)) for picture in (b"a", b"b"))
    await asyncio.to_thread(started.wait)
    closing = asyncio.create_task(batcher.close())
    await asyncio.sleep(0.05)
    assert not closing.done()
    may_go_on.set()
    await closing
    for task in (encoded, waiting):
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 300)
