"""What was used last, up to a number of bytes."""

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bytes, str)


OVERHEAD = 200
"""Bytes that an entry takes beside its value."""


class ByteCache(Generic[K, V]):
    """At most `limit` bytes of entries, for any number of threads. A text counts one byte a character."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = Lock()
        self._entries: OrderedDict[K, V] = OrderedDict()
        self.size = 0

    def get(self, key: K) -> V | None:
        with self._lock:
            value = self._entries.get(key)
            if value is not None:
                self._entries.move_to_end(key)
            return value

    def add(self, key: K, value: V) -> None:
        """Keep `value`, and drop what was not used for longest; a key that is known keeps its value.

        A value that is larger than the whole cache is not kept, and drops nothing.
        """
        if len(value) + OVERHEAD > self._limit:
            return
        with self._lock:
            if key in self._entries:
                return
            self._entries[key] = value
            self.size += len(value) + OVERHEAD
            while self.size > self._limit:
                _, dropped = self._entries.popitem(last=False)
                self.size -= len(dropped) + OVERHEAD
