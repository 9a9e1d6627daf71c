"""Group commit: values that arrive together, or during a write, are written together."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from service.shared_timer import SharedTimer

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True, eq=False)
class _Waiting(Generic[T, R]):
    values: Sequence[T]
    done: asyncio.Future[list[R]]


class GroupCommit(Generic[T, R]):
    """Combines the values of concurrent callers into few writes; the values of a lone caller are written immediately.

    Args:
        write: writes values in their order and returns a result for each, or raises for all of them.
        max_values: of one write; a caller with more values makes several writes, one after another.
        max_concurrent: the most writes that run at the same time.
        timeout_s: how long a caller waits for its values to be written, including the wait in the queue.
    """

    def __init__(
        self,
        write: Callable[[Sequence[T]], Awaitable[list[R]]],
        *,
        max_values: int,
        max_concurrent: int,
        timeout_s: float,
    ) -> None:
        self._write = write
        self._max_values = max_values
        self._free = max_concurrent
        self._starting = False
        self._timer: SharedTimer[_Waiting[T, R]] = SharedTimer(timeout_s, self._give_up)
        self._waiting: deque[_Waiting[T, R]] = deque()
        self._writing: set[asyncio.Task[None]] = set()

    async def add(self, values: Sequence[T]) -> list[R]:
        """The results of `values`, once they are written.

        Cancelling a caller does not stop a write that has begun.

        Raises:
            Exception: what `write` raised; some of the values may have been written.
            TimeoutError: they were not written in time; some may be written later.
        """
        results: list[R] = []
        loop = asyncio.get_running_loop()
        for start in range(0, len(values), self._max_values):
            waiting: _Waiting[T, R] = _Waiting(values[start : start + self._max_values], loop.create_future())
            self._waiting.append(waiting)
            self._timer.start(waiting)
            if self._free and not self._starting:
                # In the next turn of the event loop, so that all callers of this one are written together.
                self._starting = True
                loop.call_soon(self._start)
            try:
                results += await waiting.done
            finally:
                self._timer.stop(waiting)
        return results

    @staticmethod
    def _give_up(waiting: _Waiting[T, R]) -> None:
        if not waiting.done.done():
            waiting.done.set_exception(TimeoutError())

    def _start(self) -> None:
        self._starting = False
        while self._free and (group := self._next()):
            self._free -= 1
            task = asyncio.create_task(self._run(group))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

    def _next(self) -> list[_Waiting[T, R]]:
        group: list[_Waiting[T, R]] = []
        room = self._max_values
        while self._waiting and len(self._waiting[0].values) <= room:
            waiting = self._waiting.popleft()
            if not waiting.done.done():
                group.append(waiting)
                room -= len(waiting.values)
        return group

    async def _run(self, group: Sequence[_Waiting[T, R]]) -> None:
        try:
            results = await self._write([value for waiting in group for value in waiting.values])
        except Exception as error:  # noqa: BLE001 - it is raised in every waiting caller
            for waiting in group:
                if not waiting.done.done():
                    waiting.done.set_exception(error)
        else:
            start = 0
            for waiting in group:
                end = start + len(waiting.values)
                if not waiting.done.done():
                    waiting.done.set_result(results[start:end])
                start = end
        finally:
            self._free += 1
            self._start()
