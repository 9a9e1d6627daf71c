"""Slots that are shared out, so that nobody's slow host takes all of them."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class HostBusy(Exception):
    """All slots that this one may have are taken now."""


class Shares:
    """`slots` in all, of which each key may have `per_key`. For one event loop."""

    def __init__(self, slots: int, per_key: int) -> None:
        self._slots = slots
        self._per_key = per_key
        self._taken: Counter[str] = Counter()

    def take(self, key: str) -> None:
        """Take a slot.

        Raises:
            HostBusy: none is free, or none for this key.
        """
        if self._taken[key] >= self._per_key or self._taken.total() >= self._slots:
            raise HostBusy(key)
        self._taken[key] += 1

    def give(self, key: str) -> None:
        self._taken[key] -= 1
        if not self._taken[key]:
            del self._taken[key]

    @contextmanager
    def slot(self, key: str) -> Iterator[None]:
        """Hold a slot; raises HostBusy like `take`."""
        self.take(key)
        try:
            yield
        finally:
            self.give(key)
