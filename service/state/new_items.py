"""The newest items of the catalogue, so that some can be recommended before any user liked them.

`ts:new` holds the `MOST` newest items with the time of their first put. A later put of an item changes nothing, a
deletion removes it. If the process dies before the item is noted, other retrieval stages still find it.
"""

import time
import zlib
from collections.abc import Sequence

from service.state.keys import Keys
from service.state.reads import Read
from service.state.redis.scripts import Call, Scripts

MOST = 1000
ROTATED_S = 3600
"""How long a user is shown the same items."""


class NewItems:
    def __init__(self, scripts: Scripts, keys: Keys) -> None:
        self._scripts = scripts
        self._key = keys.new

    async def add(self, item_ids: Sequence[str]) -> None:
        """Add items that were put for the first time."""
        if not item_ids:
            return
        now_ms = time.time_ns() // 1_000_000
        timed = [part for item_id in item_ids[-MOST:] for part in (now_ms, item_id)]
        await self._scripts.run([("ZADD", self._key, *timed), ("ZREMRANGEBYRANK", self._key, 0, -MOST - 1)])

    def sample(self, user_id: str, count: int, within_s: float) -> Read[list[str]]:
        """At most `count` items added in the last `within_s` seconds: the newest, alternating with others.

        The others are spread evenly over all of them. They differ by user and hour.
        """
        seed = zlib.crc32(f"{int(time.time() // ROTATED_S)} {user_id}".encode())
        since_ms = round((time.time() - within_s) * 1000)
        call = Call("new_sample", (self._key,), (since_ms, count, seed))
        return Read((call,) if count else (), lambda results: [name.decode() for name in (results or [[]])[0]])
