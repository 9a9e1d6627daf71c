"""Pictures that arrive while others are encoded are encoded together."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from service.errors import Overloaded
from service.logs import get_logger
from service.metrics import Metrics

log = get_logger(__name__)
Encode = Callable[[Sequence[bytes]], list[bytes]]


class Unreadable(Exception):
    """The picture can't be decoded."""


class Batcher:
    """Encodes in a thread, one batch after another.

    Args:
        encode: the soft tokens of pictures, in their order; raises Unreadable if one can't be decoded.
        max_batch: pictures encoded together.
        max_waiting: pictures accepted at the same time.
    """

    def __init__(self, encode: Encode, max_batch: int, max_waiting: int, metrics: Metrics) -> None:
        self._encode = encode
        self._max_batch, self._max_waiting = max_batch, max_waiting
        self._metrics = metrics
        self._waiting: list[tuple[bytes, asyncio.Future[bytes]]] = []
        self._accepted = 0
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "encode")
        self._task = asyncio.create_task(self._run())

    async def encode(self, picture: bytes) -> bytes:
        """The soft tokens of one picture.

        Raises:
            Overloaded: too many pictures wait.
            Unreadable: it can't be decoded.
        """
        if self._accepted >= self._max_waiting:
            raise Overloaded("too many pictures wait to be encoded")
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._accepted += 1
        try:
            self._waiting.append((picture, future))
            self._arrived.set()
            return await future
        finally:
            self._accepted -= 1

    async def close(self) -> None:
        """Cancel whoever waits, when the batch that is being encoded is done."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.to_thread(self._thread.shutdown)
        for _, future in self._waiting:
            future.cancel()

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            # A caller that is gone needs no answer.
            self._waiting = [one for one in self._waiting if not one[1].done()]
            batch, self._waiting = self._waiting[: self._max_batch], self._waiting[self._max_batch :]
            if not self._waiting:
                self._arrived.clear()
            if batch:
                await self._answer(batch)

    async def _answer(self, batch: Sequence[tuple[bytes, asyncio.Future[bytes]]]) -> None:
        started = time.perf_counter()
        try:
            tokens = await self._in_thread([picture for picture, _ in batch])
        except Unreadable as error:
            if len(batch) > 1:
                # One of them is unreadable; the others have their tokens.
                for one in batch:
                    await self._answer([one])
                return
            _fail(batch, error)
        except asyncio.CancelledError:
            for _, future in batch:
                future.cancel()
            raise
        except Exception as error:
            log.exception("encoding_failed", pictures=len(batch))
            _fail(batch, error)
        else:
            for blob, (_, future) in zip(tokens, batch, strict=True):
                if not future.done():
                    future.set_result(blob)
            self._metrics.encoder_batch.observe(len(batch))
        self._metrics.encoder_seconds.observe(time.perf_counter() - started)

    async def _in_thread(self, pictures: Sequence[bytes]) -> list[bytes]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._encode, pictures)


def _fail(batch: Sequence[tuple[bytes, asyncio.Future[bytes]]], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
