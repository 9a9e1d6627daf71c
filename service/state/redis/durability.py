"""Waiting until replicas and disks have what was written (WAIT, WAITAOF), see docs/durability.md.

Redis counts what one connection has written, so the wait follows the writes on the same connection.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from service.settings import StateSettings
from service.state.redis.client import Argument


class NotDurable(RedisError):
    """Written, but not in as many places as was asked for."""


@dataclass(frozen=True, slots=True)
class Durability:
    """`wait` is the command after every batch of writes, `least` what it must at least answer."""

    wait: tuple[Argument, ...]
    least: tuple[int, ...]

    @classmethod
    def of(cls, settings: StateSettings) -> "Durability | None":
        """What the settings ask for; None when an answer of Redis is enough."""
        wait_ms, replicas = round(settings.replication_timeout_s * 1000), settings.wait_replicas
        if settings.wait_aof:
            return cls(("WAITAOF", 1, replicas, wait_ms), (1, replicas))
        return cls(("WAIT", replicas, wait_ms), (replicas,)) if replicas else None

    def confirmed(self, answers: Sequence[Any]) -> list[Any]:
        """`answers` without the last, which is that of `wait`.

        Raises:
            NotDurable: the wait ended with too few.
            RedisError: there was no wait.
        """
        *results, reached = answers
        if isinstance(reached, Exception):
            raise reached
        found = reached if isinstance(reached, list) else [reached]
        if any(count < need for count, need in zip(found, self.least, strict=True)):
            raise NotDurable(f"{self.wait[0]!s} reached {reached} instead of {list(self.least)}")
        return results
