"""How many requests may call the ranker at the same time: found by trying, as its capacity is not known beforehand."""

from dataclasses import dataclass

_START = 8
_DECREASE = 0.8
_SHARE = 0.5
"""Of its time, that a call may take before the ranker counts as congested."""
_RISE, _FALL = 0.002, 0.1
"""Weights with which the base latency follows slower and faster calls: it stays near the fastest of them."""


@dataclass(frozen=True, slots=True)
class Began:
    """A call that has begun; `epoch` is the number of decreases before it."""

    epoch: int


class ConcurrencyLimit:
    """A limit between `low` and `high`: additive increase, multiplicative decrease (Chiu and Jain 1989).

    The ranker is congested if a call takes more than half of its time. What callers allow beyond `deadline_s` does not
    count, as other requests would wait for it. Nor do calls that had too little time even for an idle ranker: one
    caller's short deadlines must not take the ranker from the others.

    The limit grows by about one in the time in which all calls are replaced by new ones, and only while more than half
    of it is in use. It shrinks at most once in that time.

    Args:
        deadline_s: time for the ranking of a request whose caller names no deadline.
    """

    def __init__(self, low: int, high: int, deadline_s: float) -> None:
        self._low, self._high = low, high
        self._deadline_s = deadline_s
        self._limit = float(min(high, max(low, _START)))
        self._epoch = 0
        self._base_s: float | None = None

    @property
    def limit(self) -> int:
        return int(self._limit)

    def begin(self) -> Began:
        """A call begins."""
        return Began(self._epoch)

    def answered(self, call: Began, *, took_s: float, asked_s: float, in_flight: int) -> None:
        """The ranker returned scores.

        Args:
            asked_s: time that the request had for its ranking when it came.
            in_flight: calls at the same time, this one included.
        """
        base_s = took_s if self._base_s is None else self._base_s
        self._base_s = base_s + (_FALL if took_s < base_s else _RISE) * (took_s - base_s)
        if took_s > self._allowed_s(asked_s):
            self._congested(call, asked_s)
        elif in_flight * 2 > self._limit:
            self._limit = min(float(self._high), self._limit + 1 / self._limit)

    def late(self, call: Began, *, waited_s: float, asked_s: float) -> None:
        """There were no scores within `waited_s`."""
        if waited_s > self._allowed_s(asked_s):
            self._congested(call, asked_s)

    def shed(self, call: Began) -> None:
        """The ranker refused the call for lack of room."""
        self._decrease(call)

    def _allowed_s(self, asked_s: float) -> float:
        return _SHARE * min(asked_s, self._deadline_s)

    def _congested(self, call: Began, asked_s: float) -> None:
        hurried = asked_s < _SHARE * self._deadline_s and self._allowed_s(asked_s) < (self._base_s or 0.0)
        if not hurried:
            self._decrease(call)

    def _decrease(self, call: Began) -> None:
        if call.epoch == self._epoch:
            self._limit = max(float(self._low), self._limit * _DECREASE)
            self._epoch += 1
