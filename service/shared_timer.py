"""One timer of the event loop for many timeouts of the same length."""

import asyncio
from collections.abc import Callable, Hashable
from itertools import takewhile
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class SharedTimer(Generic[K]):
    """Calls `late` with each key that was started and not stopped `after_s` seconds later.

    Most are stopped long before. A timer for each would take longer than much of what it measures.
    """

    def __init__(self, after_s: float, late: Callable[[K], None]) -> None:
        self._after_s = after_s
        self._late = late
        self._ends: dict[K, float] = {}
        """Ordered by time."""
        self._timer: asyncio.TimerHandle | None = None

    def start(self, one: K) -> None:
        """Start the timeout of `one`, which must not be running."""
        loop = asyncio.get_running_loop()
        self._ends[one] = loop.time() + self._after_s
        if self._timer is None:
            self._timer = loop.call_later(self._after_s, self._check)

    def stop(self, one: K) -> None:
        """Stop the timeout of `one`, if it is running."""
        self._ends.pop(one, None)

    def _check(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        late = [one for one, _ in takewhile(lambda running: running[1] <= now, self._ends.items())]
        for one in late:
            del self._ends[one]
        first = next(iter(self._ends.values()), None)
        self._timer = None if first is None else loop.call_at(first, self._check)
        for one in late:
            self._late(one)
