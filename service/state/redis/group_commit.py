"""Group commit: what arrives at once, or while a write is under way, goes together with the next one."""

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
    """Gathers the values of concurrent callers into few writes; a lone caller is written at once.

    Args:
        write: writes values in their order and returns a result for each, or raises for all of them.
        most: values in one write; a caller with more makes several, one after the other.
        at_once: writes under way at the same time.
        patience_s: how long a caller waits for its values to be written, waiting for its turn included.
    """

    def __init__(
        self, write: Callable[[Sequence[T]], Awaitable[list[R]]], *, most: int, at_once: int, patience_s: float
    ) -> None:
        self._write = write
        self._most = most
        self._free = at_once
        self._starting = False
        self._patience: SharedTimer[_Waiting[T, R]] = SharedTimer(patience_s, self._give_up)
        self._waiting: deque[_Waiting[T, R]] = deque()
        self._writing: set[asyncio.Task[None]] = set()

    async def add(self, values: Sequence[T]) -> list[R]:
        """The results of `values`, when they are written.

        A caller that is cancelled leaves its values to be written, if they are already on their way.

        Raises:
            Exception: what `write` raised; some of the values may have been written.
            TimeoutError: they were not written in time; some may be written later.
        """
        results: list[R] = []
        for start in range(0, len(values), self._most):
            waiting: _Waiting[T, R] = _Waiting(
                values[start : start + self._most], asyncio.get_running_loop().create_future()
            )
            self._waiting.append(waiting)
            self._patience.start(waiting)
            self._start_soon()
            try:
                results += await waiting.done
            finally:
                self._patience.stop(waiting)
        return results

    @staticmethod
    def _give_up(waiting: _Waiting[T, R]) -> None:
        if not waiting.done.done():
            waiting.done.set_exception(TimeoutError())

    def _start_soon(self) -> None:
        """Start in the next turn of the event loop, so that all who come in this one go together."""
        if self._free and not self._starting:
            self._starting = True
            asyncio.get_running_loop().call_soon(self._start)

    def _start(self) -> None:
        self._starting = False
        while self._free and (group := self._next()):
            self._free -= 1
            task = asyncio.create_task(self._run(group))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

    def _next(self) -> list[_Waiting[T, R]]:
        group: list[_Waiting[T, R]] = []
        room = self._most
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
