"""When to try again."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass


def delay_s(attempt: int, base_s: float, most_s: float, jitter: float) -> float:
    """Seconds until try number `attempt` + 1: doubling from `base_s` up to `most_s`.

    `jitter` in 0..1 takes off up to half, so that what failed together does not come back together.
    """
    return min(most_s, base_s * 2.0 ** min(attempt, 60)) * (1 - jitter / 2)


@dataclass(frozen=True, slots=True)
class Retry:
    """How often work is tried, and how long it waits after a failure."""

    attempts: int
    initial_s: float
    max_s: float

    def delay_s(self, failures: int, jitter: float) -> float:
        """Seconds to wait when it failed `failures` times before, see `delay_s`."""
        return delay_s(failures, self.initial_s, self.max_s, jitter)


class Pause:
    """No new work while something that all work needs is down; each failure in a row makes it longer."""

    def __init__(
        self,
        base_s: float,
        most_s: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._base_s = base_s
        self.most_s = most_s
        self._clock = clock
        self._jitter = jitter
        self._failures = 0
        self._till = clock()
        self._cleared = clock() - 1

    def left_s(self) -> float:
        """Seconds until work may be claimed again; 0 when it may be now."""
        return max(0.0, self._till - self._clock())

    def trip(self) -> float:
        """Note a failure and return the seconds to wait; those that fail during a pause don't lengthen it."""
        if self.left_s() == 0:
            wait = delay_s(self._failures, self._base_s, self.most_s, self._jitter())
            self._till = self._clock() + wait
            self._failures += 1
        return self.left_s()

    def clear(self) -> None:
        """Note a success."""
        self._failures = 0
        self._till = self._cleared = self._clock()

    def now(self) -> float:
        return self._clock()

    def cleared_since(self, when: float) -> bool:
        """Whether there was a success since `when`, a time that `now` returned."""
        return self._cleared >= when
