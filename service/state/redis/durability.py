"""Waits until replicas and disks have the writes (WAIT, WAITAOF), see docs/durability.md.

Redis waits for the writes of the connection on which it is asked, so the wait follows them there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from service.settings.state import StateSettings
from service.state.redis.client import Argument


class NotDurable(RedisError):
    """Written, but to fewer replicas or disks than required."""


@dataclass(frozen=True, slots=True)
class Durability:
    """`wait` is the command after every batch of writes, `required` the least that it must return."""

    wait: tuple[Argument, ...]
    required: tuple[int, ...]

    @classmethod
    def of(cls, settings: StateSettings) -> "Durability | None":
        """What the settings require; None if Redis's answer is enough."""
        wait_ms, replicas = round(settings.replication_timeout_s * 1000), settings.wait_replicas
        if settings.wait_aof:
            return cls(("WAITAOF", 1, replicas, wait_ms), (1, replicas))
        return cls(("WAIT", replicas, wait_ms), (replicas,)) if replicas else None

    def confirmed(self, answers: Sequence[Any]) -> list[Any]:
        """`answers` without the last one, which is that of `wait`.

        Raises:
            NotDurable: fewer replicas or disks than required have the writes.
            RedisError: the wait failed.
        """
        *results, reached = answers
        if isinstance(reached, Exception):
            raise reached
        found = reached if isinstance(reached, list) else [reached]
        if any(count < need for count, need in zip(found, self.required, strict=True)):
            raise NotDurable(f"{self.wait[0]!s} reached {reached} instead of {list(self.required)}")
        return results
