"""A circuit breaker: calls to a server that fails are stopped at once, and a few of them find out when it is back."""

import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum


class State(IntEnum):
    """The values of the series `tastestream_breaker_state`."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When a breaker opens, and for how long.

    Args:
        run: so many failures in a row open it,
        ratio, window_s, min_calls: and so does this share of failures among the calls of the last `window_s` seconds,
            if there were at least `min_calls`.
        open_s, max_open_s: how long it is open at first, and at most. Each failed probe doubles it.
        probes: calls at the same time while it is half-open, and successes that close it.
    """

    run: int = 5
    ratio: float = 0.5
    window_s: float = 10.0
    min_calls: int = 20
    open_s: float = 1.0
    max_open_s: float = 10.0
    probes: int = 2


_SLICES = 10
_SLOW_S = 1.0
"""A timeout after this time is a failure where no call has succeeded yet."""
_SLOW_FACTOR = 2.0
"""And else after this multiple of the usual duration: a caller with less time says nothing about the server."""
_USUAL_WEIGHT = 0.1


@dataclass(slots=True)
class _Slice:
    began: float
    calls: int = 0
    failures: int = 0


class Breaker:
    """Decides whether a server is asked. Each `enter` that returns a permit is followed by exactly one outcome.

    A permit is void once the state has changed: calls that began earlier say nothing about the server now.

    Args:
        clock: monotonic seconds.
        jitter: draws from 0..1, so that many processes do not probe together.

    Attributes:
        on_change: is called with each new state.
    """

    def __init__(
        self,
        rules: BreakerRules | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.on_change: Callable[[State], None] = lambda state: None
        self._rules = rules or BreakerRules()
        self._clock = clock
        self._jitter = jitter
        self._state = State.CLOSED
        self._epoch = 0
        self._usual_s: float | None = None
        self._run = 0
        self._window: deque[_Slice] = deque()
        self._probing = 0
        self._probed = 0
        self._open_until = 0.0
        self._opened = 0
        self._closed_at = float("-inf")

    @property
    def state(self) -> State:
        """Open until a call is let through as a probe, even if that may happen now."""
        return self._state

    def wait_s(self) -> float:
        """Seconds until a call may be let through; 0 if one would be now."""
        if self._state is State.OPEN:
            return max(0.0, self._open_until - self._clock())
        full = self._state is State.HALF_OPEN and self._probing >= self._rules.probes
        return self._rules.open_s if full else 0.0

    def enter(self) -> int | None:
        """A permit to call the server, or None if it is not to be asked."""
        if self.wait_s() > 0:
            return None
        if self._state is State.OPEN:
            self._probing = self._probed = 0
            self._become(State.HALF_OPEN)
        if self._state is State.HALF_OPEN:
            self._probing += 1
        return self._epoch

    def succeed(self, permit: int, seconds: float | None = None) -> None:
        """The server answered; `seconds` if the duration is a usual one."""
        if permit != self._epoch:
            return
        if seconds is not None:
            known = self._usual_s
            self._usual_s = seconds if known is None else known + _USUAL_WEIGHT * (seconds - known)
        if self._state is State.HALF_OPEN:
            self._probing -= 1
            self._probed += 1
            if self._probed >= self._rules.probes:
                self._close()
            return
        self._run = 0
        self._slice().calls += 1

    def fail(self, permit: int) -> None:
        """The server failed."""
        if permit != self._epoch:
            return
        if self._state is State.HALF_OPEN:
            self._open()
            return
        self._run += 1
        current = self._slice()
        current.calls += 1
        current.failures += 1
        if self._run >= self._rules.run or self._mostly_fails():
            self._open()

    def time_out(self, permit: int, waited_s: float) -> None:
        """No answer within `waited_s`. A failure only if the server usually answers in less than half of that."""
        if waited_s >= (_SLOW_S if self._usual_s is None else _SLOW_FACTOR * self._usual_s):
            self.fail(permit)
        else:
            self.abandon(permit)

    def shed(self, permit: int) -> None:
        """The server works and refused the call for lack of room: no failure, but not the time for probes either."""
        if permit == self._epoch and self._state is State.HALF_OPEN:
            self._open()

    def abandon(self, permit: int) -> None:
        """The call ended without saying anything about the server."""
        if permit == self._epoch and self._state is State.HALF_OPEN:
            self._probing -= 1

    def _slice(self) -> _Slice:
        """The current part of the window, without the parts that are over."""
        now = self._clock()
        while self._window and self._window[0].began <= now - self._rules.window_s:
            self._window.popleft()
        if not self._window or now - self._window[-1].began >= self._rules.window_s / _SLICES:
            self._window.append(_Slice(now))
        return self._window[-1]

    def _mostly_fails(self) -> bool:
        calls = sum(part.calls for part in self._window)
        failures = sum(part.failures for part in self._window)
        return calls >= self._rules.min_calls and failures >= self._rules.ratio * calls

    def _open(self) -> None:
        rules, now = self._rules, self._clock()
        if self._state is State.CLOSED and now - self._closed_at > rules.max_open_s:
            self._opened = 0
        length_s = min(rules.max_open_s, rules.open_s * 2.0 ** min(self._opened, 60))
        self._opened += 1
        self._open_until = now + length_s * (1 - self._jitter() / 4)
        self._become(State.OPEN)

    def _close(self) -> None:
        self._closed_at = self._clock()
        self._run = 0
        self._window.clear()
        self._become(State.CLOSED)

    def _become(self, state: State) -> None:
        self._state = state
        self._epoch += 1
        self.on_change(state)
