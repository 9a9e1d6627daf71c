"""Places at the ranker, and who gets the next one."""

import asyncio
from collections import deque
from collections.abc import Callable

_USUAL_WEIGHT = 0.1


class Hopeless(Exception):
    """No place would become free in time for the ranker to answer."""


class Slots:
    """At most `limit()` calls at the same time; others wait while they have time for a usual call.

    The first to come is the next, unless more wait than are called at the same time. Then it is the last to come: the
    others have used up most of their time, and serving them in order would make all of them late.

    Args:
        limit: asked whenever a place may be given.
        changed: is told how many calls are in flight.
    """

    def __init__(self, limit: Callable[[], int], changed: Callable[[int], None]) -> None:
        self._limit = limit
        self._changed = changed
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._usual_s = 0.0
        self.in_flight = 0

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._waiting)

    async def acquire(self, within_s: float) -> None:
        """Wait for a place. `release` must follow.

        Args:
            within_s: the time for waiting and for the call.

        Raises:
            Hopeless: the time left became too short for a usual call.
        """
        if not self._waiting and self.in_flight < self._limit():
            self._take()
            return
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        timer = loop.call_later(max(0.0, within_s - self._usual_s), self._give_up, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()
            raise
        finally:
            timer.cancel()
            if turn in self._waiting:
                self._waiting.remove(turn)

    def release(self, took_s: float | None = None) -> None:
        """Give the place back; `took_s` is the duration of a call that was answered."""
        if took_s is not None:
            self._usual_s += _USUAL_WEIGHT * (took_s - self._usual_s)
        self.in_flight -= 1
        self._changed(self.in_flight)
        while self._waiting and self.in_flight < self._limit():
            crowded = len(self._waiting) > self._limit()
            turn = self._waiting.pop() if crowded else self._waiting.popleft()
            if not turn.done():
                self._take()
                turn.set_result(None)

    def _take(self) -> None:
        self.in_flight += 1
        self._changed(self.in_flight)

    @staticmethod
    def _give_up(turn: asyncio.Future[None]) -> None:
        if not turn.done():
            turn.set_exception(Hopeless())
