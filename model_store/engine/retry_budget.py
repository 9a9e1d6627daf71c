"""A budget of retries: many retries at the same time would be the load that keeps an overloaded server down."""

import time
from collections.abc import Callable


class RetryBudget:
    """A bucket of tokens. A call adds `share` of a token, a retry takes one; a few are there for quiet times.

    In the long run retries are at most `share` of the calls, and `per_s` where there are few calls.

    Args:
        size: tokens of the full bucket, with which it starts.
        clock: monotonic seconds.

    Attributes:
        on_change: is called with the share of the bucket that is left, in 0..1.
    """

    def __init__(
        self,
        share: float = 0.1,
        *,
        size: float = 10.0,
        per_s: float = 0.1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.on_change: Callable[[float], None] = lambda left: None
        self._share = share
        self._size = size
        self._per_s = per_s
        self._clock = clock
        self._tokens = size
        self._at = clock()

    @property
    def left(self) -> float:
        """The share of the bucket that is left, in 0..1."""
        return self._tokens / self._size

    def called(self) -> None:
        """Count a call that is not a retry."""
        # A full bucket stays full, whatever the time: this is called with every call.
        if self._tokens < self._size:
            self._add(self._share)

    def take(self) -> bool:
        """Whether one more retry may be made; it is counted."""
        self._add(0.0)
        allowed = self._tokens >= 1
        if allowed:
            self._add(-1.0)
        return allowed

    def _add(self, tokens: float) -> None:
        now = self._clock()
        grown = self._tokens + tokens + (now - self._at) * self._per_s
        self._at = now
        if (new := min(self._size, grown)) != self._tokens:
            self._tokens = new
            self.on_change(self.left)
