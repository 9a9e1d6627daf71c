"""The deadline of a request, passed to every step."""

import asyncio
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from service.errors import DeadlineExceeded, StateUnavailable
from service.tracing import span

T = TypeVar("T")
_RESERVE_S = 0.05
"""Ranking ends this long before the deadline, to leave time for the blend and the response."""

_INDEX_SHARE = 0.5


class Deadline:
    """A point in time, `total_s` seconds after `started` (monotonic clock).

    `asked`: the caller set the deadline. `lag_s`: how late the event loop is; blend and response wait for it as well.
    """

    def __init__(self, started: float, total_s: float, *, asked: bool = False, lag_s: float = 0.0) -> None:
        self._total_s = total_s
        self._asked = asked
        self._end = started + total_s
        # Less for a very short deadline, which must leave time for the ranker.
        self._reserve_s = min(_RESERVE_S + lag_s, total_s / 4)

    def used(self) -> float:
        """The share of its time that has passed; more than 1 when it is over."""
        return 1 + (time.monotonic() - self._end) / self._total_s

    def remaining_s(self) -> float:
        return max(0.0, self._end - time.monotonic())

    def for_ranking_s(self) -> float:
        """The time left for the ranker."""
        return max(0.0, self.remaining_s() - self._reserve_s)

    def sooner(self, share: float) -> "Deadline":
        """A deadline that comes when this share of the time left is over."""
        return Deadline(time.monotonic(), max(1e-9, share * self.remaining_s()), asked=self._asked)

    def for_index(self) -> "Deadline":
        """The deadline of what is read from the index of vectors."""
        return self.sooner(_INDEX_SHARE)

    def limit(self) -> asyncio.Timeout:
        """A scope that raises TimeoutError when the deadline has passed."""
        return asyncio.timeout(self.remaining_s())

    async def in_time(self, read: Awaitable[T]) -> T:
        """The result of a read of the state store.

        Raises:
            DeadlineExceeded: it takes longer than the caller allows, which does not mean that Redis is unavailable.
            StateUnavailable: it takes longer than the service's own deadline.
        """
        try:
            async with self.limit():
                return await read
        except TimeoutError:
            late = "the state store did not answer within"
            if self._asked:
                detail = f"{late} deadline_ms = {self._total_s * 1000:g}; send a longer one"
                raise DeadlineExceeded(detail, field="deadline_ms", retry_after_s=1) from None
            raise StateUnavailable(f"{late} {self._total_s:g} s", retry_after_s=1) from None


class Timing:
    """The duration of each step."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            with span(name):
                yield
        finally:
            self.seconds[name] = time.perf_counter() - started

    def close(self) -> dict[str, float]:
        """All steps and `total`, in milliseconds."""
        self.seconds["total"] = time.perf_counter() - self._started
        return {name: round(seconds * 1000, 2) for name, seconds in self.seconds.items()}
