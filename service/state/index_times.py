"""When the indexes of retrieval last counted a like: in Redis, so that a restart does not hide that one is stale."""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, get_args

from service.state.keys import Keys
from service.state.redis.client import Argument
from service.state.redis.scripts import Scripts

Index = Literal["cooccurrence", "popular"]
PRECISION_MS = 1000
"""A process writes each time at most this often."""


class IndexTimes:
    def __init__(self, scripts: Scripts, keys: Keys) -> None:
        self._scripts = scripts
        self._key = keys.updated
        self._written: dict[Index, int] = {}

    def updating(self, indexes: Collection[Index]) -> Sequence[tuple[Argument, ...]]:
        """The commands that record that these were updated now."""
        now = self._scripts.host_now()
        due = [index for index in indexes if now - self._written.get(index, 0) >= PRECISION_MS]
        self._written |= dict.fromkeys(due, now)
        return [("HSET", self._key, index, now) for index in due]

    async def read(self) -> Mapping[str, float]:
        """The time by index, in seconds since the epoch, of those that were ever updated.

        Raises:
            StateUnavailable: Redis did not answer.
        """
        indexes = get_args(Index)
        (times,) = await self._scripts.run([("HMGET", self._key, *indexes)])
        return {index: int(at_ms) / 1000 for index, at_ms in zip(indexes, times, strict=True) if at_ms is not None}
