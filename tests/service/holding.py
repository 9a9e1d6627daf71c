"""How long an event loop is blocked: the most CPU time of a single callback.

CPU time of the loop's thread, so that other processes on a busy machine do not count.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

PIECE = 256 * 1024
"""The most that asyncio reads from a socket at once."""


@dataclass
class Holds:
    longest_s: float = 0.0
    steps: int = 0


@contextmanager
def holds() -> Iterator[Holds]:
    """Measures every callback of the event loops that run in this context."""
    seen = Holds()
    run = asyncio.Handle._run

    def measured(self: asyncio.Handle) -> Any:
        started = time.thread_time()
        try:
            return run(self)
        finally:
            seen.longest_s = max(seen.longest_s, time.thread_time() - started)
            seen.steps += 1

    with patch.object(asyncio.Handle, "_run", measured):
        yield seen


async def in_pieces(body: bytes) -> AsyncIterator[bytes]:
    """The body as a server passes it on; other tasks may run between the pieces."""
    for start in range(0, len(body), PIECE):
        yield body[start : start + PIECE]
        await asyncio.sleep(0)
