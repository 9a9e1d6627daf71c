"""A question that many ask at the same time, and that is put once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")
FRESH_S = 1.0
"""How old a result may be."""


class SharedProbe(Generic[T]):
    """The result of `probe`, at most `FRESH_S` old. Callers who come while it runs wait for the same result."""

    def __init__(self, probe: Callable[[], Awaitable[T]]) -> None:
        self._probe = probe
        self._task: asyncio.Task[T] | None = None
        self._fresh_until = 0.0

    async def __call__(self) -> T:
        if self._task is None or (self._task.done() and self._is_old()):
            self._task = asyncio.create_task(self._run())
        # One caller that leaves must not take the result from the others.
        return await asyncio.shield(self._task)

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _is_old(self) -> bool:
        return asyncio.get_running_loop().time() >= self._fresh_until

    async def _run(self) -> T:
        result = await self._probe()
        self._fresh_until = asyncio.get_running_loop().time() + FRESH_S
        return result
