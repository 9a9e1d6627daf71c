"""Slots with a limit per key, so that one slow host can't occupy all of them."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class HostBusy(Exception):
    """No slot is free for this host."""


class Slots:
    """`total` slots, at most `per_key` of them for each key. For one event loop."""

    def __init__(self, total: int, per_key: int) -> None:
        self._total = total
        self._per_key = per_key
        self._taken: Counter[str] = Counter()

    def acquire(self, key: str) -> None:
        """Take a slot without waiting.

        Raises:
            HostBusy: no slot is free, or none for this key.
        """
        if self._taken[key] >= self._per_key or self._taken.total() >= self._total:
            raise HostBusy(key)
        self._taken[key] += 1

    def release(self, key: str) -> None:
        self._taken[key] -= 1
        if not self._taken[key]:
            del self._taken[key]

    @contextmanager
    def hold(self, key: str) -> Iterator[None]:
        """Hold a slot; raises HostBusy like `acquire`."""
        self.acquire(key)
        try:
            yield
        finally:
            self.release(key)
