"""Counts likes of items that are not yet in the catalogue, and hands them over when the items are put.

Events may arrive before their items. Such an item is in no ranking and in no other item's list, where it would take
the place of an item that can be recommended. Its own list has the items liked together with it and, under `COUNT`, how
many users liked it. `ts:early` holds the `MOST` items that were liked last. The list of an item is deleted when the
item leaves `ts:early`, or was not liked for `KEPT_S`. When the item is put, its counts become what they would be if it
had always been in the catalogue.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from service.settings.state import StateSettings
from service.state.counting import calls, list_calls, parse_counts
from service.state.keys import Keys
from service.state.redis.scripts import Call, Scripts

MOST = 10_000
KEPT_S = 7 * 86400
COUNT = ""
"""Not the id of any item."""
Known = Callable[[Sequence[str]], Awaitable[frozenset[str]]]


class Early:
    def __init__(self, scripts: Scripts, keys: Keys, settings: StateSettings) -> None:
        self._scripts = scripts
        self._keys = keys
        self._settings = settings

    async def record(self, together: Mapping[str, Mapping[str, float]]) -> None:
        """Count one user for each of these absent items, and for its pairs with others."""
        now_ms = time.time_ns() // 1_000_000
        rows = {item: {COUNT: 1.0, **others} for item, others in together.items()}
        written = list_calls(self._keys, rows, self._settings.neighbours)
        (_, dropped), *_ = await self._scripts.run(
            [Call("early", (self._keys.early,), (now_ms, MOST, *together)), *written]
        )
        await self._scripts.run(
            [("DEL", self._keys.neighbours(item.decode())) for item in dropped]
            + [("EXPIRE", self._keys.neighbours(item), KEPT_S) for item in together]
        )

    async def pair(self, together: Mapping[str, Mapping[str, float]]) -> None:
        """Count the user for pairs of absent items that were counted before."""
        (found,) = await self._scripts.run([("ZMSCORE", self._keys.early, *together)])
        there = {item: row for (item, row), at in zip(together.items(), found, strict=True) if at is not None}
        await self._scripts.run(list_calls(self._keys, there, self._settings.neighbours))

    async def take(self, item_ids: Sequence[str], known: Known) -> None:
        """Hand the counts of new items over. If the process dies in between, they are lost."""
        if not item_ids:
            return
        (found,) = await self._scripts.run([("ZMSCORE", self._keys.early, *item_ids)])
        for item in [item for item, at in zip(item_ids, found, strict=True) if at is not None]:
            await self._take(item, known)

    async def _take(self, item: str, known: Known) -> None:
        own = self._keys.neighbours(item)
        (flat, *_, kept) = await self._scripts.run(
            [
                ("ZRANGE", own, 0, -1, "WITHSCORES"),
                ("ZREM", own, COUNT),
                ("PERSIST", own),
                ("ZREM", self._keys.early, item),
            ]
        )
        counts = parse_counts(flat)
        total = counts.pop(COUNT, 0.0)
        if not kept or not total:
            return
        present = await known(list(counts))
        await self._scripts.run(
            [
                *calls("count", self._keys.popular, {item: total}, self._settings.popular),
                *(
                    Call(
                        "early_pair", (self._keys.neighbours(other),), (self._settings.neighbours, counts[other], item)
                    )
                    for other in present
                ),
            ]
        )
