"""When to try again."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Retry:
    """How often work is tried, and how long it waits after a failure."""

    attempts: int
    initial_s: float
    max_s: float

    def delay_s(self, failures: int, jitter: float) -> float:
        """Seconds to wait after `failures` earlier failures: doubling from `initial_s` up to `max_s`.

        `jitter` in 0..1 takes off up to half, so that work that failed together is not retried together.
        """
        return min(self.max_s, self.initial_s * 2.0 ** min(failures, 60)) * (1 - jitter / 2)


class Pause:
    """Stops new work while something that all of it needs is down. Each failure in a row doubles the pause.

    Args:
        closed_s: seconds for which a circuit breaker lets nothing through; a pause lasts at least so long.
    """

    def __init__(
        self,
        retry: Retry,
        *,
        closed_s: Callable[[], float] = lambda: 0.0,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.max_s = retry.max_s
        self._retry = retry
        self._closed_s = closed_s
        self._clock = clock
        self._jitter = jitter
        self._failures = 0
        self._until = clock()
        self._cleared = clock() - 1

    def left_s(self) -> float:
        """Seconds until work may be claimed again; 0 if it may be claimed now."""
        return max(self._own_s(), self._closed_s())

    def _own_s(self) -> float:
        return max(0.0, self._until - self._clock())

    def trip(self) -> float:
        """Record a failure and return the seconds to wait. Failures during a pause don't lengthen it."""
        if self._own_s() == 0:
            self._until = self._clock() + self._retry.delay_s(self._failures, self._jitter())
            self._failures += 1
        return self.left_s()

    def clear(self) -> None:
        """Record a success."""
        self._failures = 0
        self._until = self._cleared = self._clock()

    def now(self) -> float:
        return self._clock()

    def cleared_since(self, when: float) -> bool:
        """Whether there was a success since `when`, a time that `now` returned."""
        return self._cleared >= when
