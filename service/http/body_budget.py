"""The bytes of request bodies that all requests of a process hold at the same time."""

import asyncio

from service.errors import Overloaded
from service.metrics import Metrics

_FREE = 64 * 1024
"""Bytes of each body that don't count, so that what most callers send is taken also when large bodies fill the budget.
`limits.max_concurrent_requests` bounds how many there are."""


class Holding:
    """What one request holds. `held`: its bytes that count; `arriving`: its body is not at its end."""

    __slots__ = ("arriving", "held", "refused", "started", "waiting")

    def __init__(self, started: float) -> None:
        self.started = started
        self.held = 0
        self.arriving = True
        self.refused = False
        self.waiting: asyncio.Timeout | None = None

    def cost(self, now: float) -> float:
        """Bytes times seconds: a large body that arrives slowly costs others the most."""
        return self.held * (now - self.started)

    def refuse(self) -> None:
        """Have whoever reads the body give up."""
        self.refused = True
        self.stop_waiting()

    def stop_waiting(self) -> None:
        if self.waiting is not None:
            self.waiting.reschedule(0)


class BodyBudget:
    """When the budget is full, the body that has cost the most until then is given up, not the one that comes last.

    So slow senders of large bodies can't keep others from sending.

    Args:
        limit: bytes.
    """

    def __init__(self, limit: int, metrics: Metrics) -> None:
        self._limit = limit
        self._used = 0
        self._holdings: set[Holding] = set()
        self._refused = metrics.bodies_refused
        metrics.body_bytes.set_function(lambda: self._used)

    def hold(self, holding: Holding, size: int) -> None:
        """Let `holding` have `size` bytes in all.

        Raises:
            Overloaded: there is no room for them.
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
            dearest = max((one for one in self._holdings if one.arriving or one is holding), key=lambda h: h.cost(now))
            self.release(dearest)
            dearest.refuse()
            self._refused.inc()
            if dearest is holding:
                raise self.full()

    def release(self, holding: Holding) -> None:
        """Give back all that `holding` has."""
        self._used -= holding.held
        holding.held = 0
        self._holdings.discard(holding)

    @staticmethod
    def full() -> Overloaded:
        """The error for a body that was given up."""
        return Overloaded("bodies in flight take too many bytes; send it again, in smaller parts", retry_after_s=1)
