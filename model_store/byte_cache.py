"""A least-recently-used cache bounded by bytes."""

from collections.abc import Hashable
from contextlib import suppress
from threading import Lock
from typing import Generic, TypeVar

from cachetools import LRUCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bytes, str)


OVERHEAD = 350
"""Bytes that an entry takes in addition to its value, measured with keys of 64 characters."""


class ByteCache(Generic[K, V]):
    """At most `limit` bytes of entries, thread-safe. A text counts one byte per character."""

    def __init__(self, limit: int) -> None:
        self._entries: LRUCache[K, V] = LRUCache(limit, getsizeof=lambda value: len(value) + OVERHEAD)
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        with self._lock:
            return self._entries.get(key)

    def add(self, key: K, value: V) -> None:
        """Add `value`, evicting the least recently used ones; a value larger than the cache is not added."""
        with self._lock, suppress(ValueError):
            self._entries[key] = value
