"""The log of what was shown: the last answers with the features of their items, bounded by count and age (I5, I8).

One stream per bucket, as of the event log; the events that an answer led to name its recommendation id.
"""

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from service.settings.state import StateSettings
from service.state.keys import Keys
from service.state.redis.scripts import Call, Scripts

PAGE = 500


@dataclass(frozen=True, slots=True)
class ShownItem:
    """An item of an answer.

    Args:
        propensity: the probability that this item came next, given those above it.
        features: what its score was computed from, in the order of `Shown.features`.
    """

    item_id: str
    propensity: float
    features: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Shown:
    """An answer as it was shown.

    Args:
        read_at_ms: when the user was read, by the store's clock.
        propensity: the probability with which the policy was chosen for this user.
        features: the names of the features.
        diversity: that of the request, 0..1; None if the answer was logged before this was.
        typical: the mean features to whose evidence items that few users met were raised; empty if none was.
    """

    recommendation_id: str
    user_id: str
    read_at_ms: int
    model: str
    policy: str
    propensity: float
    served_by: str
    features: Sequence[str]
    items: Sequence[ShownItem]
    diversity: float | None
    typical: Mapping[str, float]


class ShownLog:
    def __init__(self, scripts: Scripts, keys: Keys, settings: StateSettings) -> None:
        self._scripts = scripts
        self._keys = keys
        self._retention_ms = round(settings.event_log_retention_s * 1000)
        self._per_bucket = math.ceil(settings.shown_log_size / settings.buckets)
        self.enabled = settings.shown_log_size > 0

    async def write(self, answers: Sequence[Shown]) -> int:
        """Log answers; returns how many, without those of users who were deleted since they were read."""
        calls = []
        for shown in answers:
            names = (self._keys.user_bucket(shown.user_id).shown, self._keys.user(shown.user_id).tombstone)
            given = (shown.read_at_ms, shown.user_id, _encoded(shown), self._per_bucket)
            calls.append(Call("shown_add", names, given))
        return sum(await self._scripts.run(calls)) if calls else 0

    async def count(self) -> int:
        """The number of logged answers."""
        return sum(await self._scripts.run([("XLEN", bucket.shown) for bucket in self._keys.users]))

    async def read(self, bucket: int) -> AsyncIterator[Shown]:
        """The answers of one bucket, oldest first."""
        start = "-"
        while True:
            call = Call("stream_page", (self._keys.users[bucket].shown,), (start, "+", PAGE))
            (entries,) = await self._scripts.run([call])
            for _, (_, user, _, answer) in entries:
                yield _decoded(user.decode(), answer)
            if len(entries) < PAGE:
                return
            start = f"({entries[-1][0].decode()}"

    async def forget(self, user_id: str) -> int:
        """Remove the user's answers; returns how many there were. The tombstone keeps others from being added."""
        keys, start, removed = (self._keys.user_bucket(user_id).shown,), "-", 0
        while start:
            call = Call("log_forget", keys, (user_id, start, "+", PAGE))
            ((count, following),) = await self._scripts.run([call], durable=True)
            start, removed = following.decode(), removed + count
        return removed

    async def trim(self, *, short: bool = False) -> int:
        """Remove answers older than the retention time, and if Redis is `short` of memory, all; returns how many."""
        oldest = max(0, self._scripts.host_now() - self._retention_ms)
        bound: tuple[str | int, ...] = ("MAXLEN", 0) if short else ("MINID", "~", oldest)
        return sum(await self._scripts.run([("XTRIM", bucket.shown, *bound) for bucket in self._keys.users]))


def _encoded(shown: Shown) -> bytes:
    items = [(item.item_id, _short(item.propensity), *map(_short, item.features)) for item in shown.items]
    answer = (shown.recommendation_id, shown.read_at_ms, shown.model, shown.policy, shown.propensity, shown.served_by)
    typical = {name: _short(value) for name, value in shown.typical.items()}
    return orjson.dumps((*answer, list(shown.features), items, shown.diversity, typical))


def _decoded(user_id: str, content: bytes) -> Shown:
    rid, read_at_ms, model, policy, propensity, served_by, names, items, *since = orjson.loads(content)
    diversity, typical = since or (None, {})
    shown = [ShownItem(item, chance, features) for item, chance, *features in items]
    return Shown(rid, user_id, read_at_ms, model, policy, propensity, served_by, names, shown, diversity, typical)


def _short(value: Any) -> Any:
    """Six digits: the precision of the scores that are cached."""
    return float(f"{value:.6g}") if isinstance(value, float) else value
