"""What was shown to a user lately, in answers whose items are to rotate (I5, I8)."""

from collections.abc import Sequence

import orjson

from service.settings.recommend import RecommendSettings
from service.state.keys import Keys
from service.state.reads import Read
from service.state.redis.scripts import Call, Scripts

REMEMBERED = 10
"""Answers of a user."""
MOST_ITEMS = 100
"""Of one answer, the first."""


class RotationLog:
    def __init__(self, scripts: Scripts, keys: Keys, settings: RecommendSettings) -> None:
        self._scripts = scripts
        self._keys = keys
        self._ttl_ms = round(settings.rotation_ttl_s * 1000)

    def reading(self, user_id: str) -> Read[Sequence[Sequence[str]]]:
        """The items of the last answers, the newest first."""
        read = ("LRANGE", self._keys.user(user_id).rotation, 0, REMEMBERED - 1)
        return Read((read,), lambda results: [tuple(orjson.loads(items)) for items in results[0]])

    async def add(self, user_id: str, items: Sequence[str], read_at_ms: int) -> bool:
        """Remember the items of an answer; False if the user was deleted since `read_at_ms`."""
        keys = self._keys.user(user_id)
        given = (read_at_ms, orjson.dumps(list(items[:MOST_ITEMS])), REMEMBERED, self._ttl_ms)
        (kept,) = await self._scripts.run([Call("rotation_add", (keys.rotation, keys.tombstone), given)])
        return bool(kept)
