"""The items that came into the catalogue last, so that some of them can be tried before anybody liked them.

`ts:new` holds the `MOST` newest with the time of their first put. An item that is put again stays where it is, a
deleted one goes. If the process dies in between, the item is found in other ways only.
"""

import time
import zlib
from collections.abc import Sequence

from service.state.keys import NEW
from service.state.reads import Read
from service.state.redis.scripts import Call, Scripts

MOST = 1000
ROTATED_S = 3600
"""How long a user is shown the same ones."""


class NewItems:
    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def add(self, item_ids: Sequence[str]) -> None:
        """Note items that were put for the first time."""
        if not item_ids:
            return
        now_ms = time.time_ns() // 1_000_000
        timed = [part for item_id in item_ids[-MOST:] for part in (now_ms, item_id)]
        await self._scripts.send([("ZADD", NEW, *timed), ("ZREMRANGEBYRANK", NEW, 0, -MOST - 1)])

    def sample(self, user_id: str, count: int, within_s: float) -> Read[list[str]]:
        """At most `count` items that came within `within_s`: the newest and, in turns with them, others.

        The others are spread over all of them. They differ by user and hour, and are the same within one.
        """
        seed = zlib.crc32(f"{int(time.time() // ROTATED_S)} {user_id}".encode())
        since_ms = round((time.time() - within_s) * 1000)
        call = Call("new_sample", (NEW,), (since_ms, count, seed))
        return Read((call,) if count else (), lambda results: [name.decode() for name in (results or [[]])[0]])
