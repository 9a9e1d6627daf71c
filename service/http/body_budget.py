"""A limit on the memory for the request bodies of a process."""

import asyncio
from dataclasses import dataclass

from service.errors import Overloaded
from service.metrics import Metrics

_FREE = 64 * 1024
"""Bytes of each body that do not count, so that small bodies are accepted even when large ones fill the budget.
`limits.max_concurrent_requests` limits how many there are."""


@dataclass(slots=True, eq=False)
class Holding:
    """The memory of one body. `held`: its bytes that count; `arriving`: its end has not arrived."""

    started: float
    held: int = 0
    arriving: bool = True
    refused: bool = False
    waiting: asyncio.Timeout | None = None

    def cost(self, now: float) -> float:
        """Bytes times seconds. Large bodies that arrive slowly cost the most."""
        return self.held * (now - self.started)

    def refuse(self) -> None:
        """Make the reader of the body give up."""
        self.refused = True
        self.stop_waiting()

    def stop_waiting(self) -> None:
        if self.waiting is not None:
            self.waiting.reschedule(0)


class BodyBudget:
    """When the budget of `limit` bytes is full, the body that has cost the most so far is dropped, not the latest one.

    Slow senders of large bodies therefore can't block others.
    """

    def __init__(self, limit: int, metrics: Metrics) -> None:
        self._limit = limit
        self._used = 0
        self._holdings: set[Holding] = set()
        self._refused = metrics.bodies_refused
        metrics.compute(metrics.body_bytes, lambda: self._used)

    def hold(self, holding: Holding, size: int) -> None:
        """Set the size of the body to `size` bytes.

        Raises:
            Overloaded: the body is dropped, now or before.
        """
        if holding.refused:
            raise self.full()
        size = max(0, size - _FREE)
        if size == holding.held:
            return
        self._holdings.add(holding)
        self._used += size - holding.held
        holding.held = size
        while self._used > self._limit:
            now = asyncio.get_running_loop().time()
            droppable = (one for one in self._holdings if one.arriving or one is holding)
            costliest = max(droppable, key=lambda one: one.cost(now))
            self.release(costliest)
            costliest.refuse()
            self._refused.inc()
            if costliest is holding:
                raise self.full()

    def release(self, holding: Holding) -> None:
        """Free the memory of the body."""
        self._used -= holding.held
        holding.held = 0
        self._holdings.discard(holding)

    @staticmethod
    def full() -> Overloaded:
        """The error for a dropped body."""
        return Overloaded(
            "all request bodies together exceed the limit; send it again in smaller parts", retry_after_s=1
        )
