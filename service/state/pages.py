"""The items that were shown on the pages of a recommendation (I5, I8)."""

from collections.abc import Sequence

import orjson

from service.settings.recommend import RecommendSettings
from service.state.keys import Keys
from service.state.reads import Read
from service.state.redis.scripts import Call, Scripts

REMEMBERED = 5
"""Recommendations of a user whose pages are remembered."""


class Pages:
    def __init__(self, scripts: Scripts, keys: Keys, settings: RecommendSettings) -> None:
        self._scripts = scripts
        self._keys = keys
        self._ttl_ms = round(settings.page_ttl_s * 1000)

    def reading(self, user_id: str, recommendation_id: str | None) -> Read[tuple[str, ...] | None]:
        """The items shown up to a recommendation of the user, in their order; None if it is not remembered."""
        if recommendation_id is None:
            return Read((), lambda _: None)
        read = ("HGET", self._keys.user(user_id).pages, recommendation_id)
        return Read((read,), lambda results: _items(results[0], self._scripts.host_now() - self._ttl_ms))

    async def remember(self, user_id: str, recommendation_id: str, items: Sequence[str], read_at_ms: int) -> bool:
        """Remember all items shown up to a recommendation; False if the user was deleted since `read_at_ms`."""
        keys = self._keys.user(user_id)
        given = (read_at_ms, recommendation_id, orjson.dumps(list(items)), REMEMBERED, self._ttl_ms)
        (kept,) = await self._scripts.run([Call("pages_add", (keys.pages, keys.tombstone), given)])
        return bool(kept)


def _items(value: bytes | None, since_ms: int) -> tuple[str, ...] | None:
    if value is None:
        return None
    written, _, items = value.partition(b":")
    return tuple(orjson.loads(items)) if int(written) >= since_ms else None
