"""Removes the counts of deleted items.

A deleted item's own list names most of the items whose lists name it, so it is removed from those immediately. It does
not name all: lists are bounded, and a popular item may be named by a rare one that it has dropped. A note therefore
voids the item's counts until a sweep has visited every list.
"""

import time
from collections.abc import AsyncIterator, Sequence

from service.state.early import Known
from service.state.keys import Keys
from service.state.redis.client import Argument
from service.state.redis.scripts import Scripts, unavailable

NOTES = 100_000
"""Deleted items noted until the next sweep; the oldest beyond this are dropped."""
LISTS_PER_CALL = 100


async def note(scripts: Scripts, keys: Keys, item_id: str) -> None:
    """Void the item's counts until the next sweep."""
    await scripts.run(
        [
            ("ZADD", keys.deleted_items, time.time_ns() // 1_000_000, item_id),
            ("ZREMRANGEBYRANK", keys.deleted_items, 0, -NOTES - 1),
        ]
    )


async def clear(scripts: Scripts, keys: Keys, item_id: str) -> None:
    """Remove the item's list, its popularity, and its name from the lists that its own one names."""
    (near,) = await scripts.run([("ZRANGE", keys.neighbours(item_id), 0, -1)])
    commands: list[tuple[Argument, ...]] = [("ZREM", keys.neighbours(other.decode()), item_id) for other in near]
    await scripts.run(
        [*commands, ("DEL", keys.neighbours(item_id)), ("ZREM", keys.popular, item_id), ("ZREM", keys.new, item_id)]
    )


class DeletedItems:
    """Args: `known` returns those of the given items that are in the catalogue."""

    def __init__(self, scripts: Scripts, keys: Keys, known: Known) -> None:
        self._scripts = scripts
        self._keys = keys
        self._known = known

    async def sweep(self) -> int:
        """Remove every noted item from every list, then the notes. Returns the number of notes.

        An item that was put again in the meantime starts without neighbours. An item deleted during the sweep is left
        to the next one.
        """
        (flat,) = await self._scripts.run([("ZRANGE", self._keys.deleted_items, 0, -1, "WITHSCORES")])
        if not flat:
            return 0
        deleted = frozenset(flat[::2])
        async for lists in self._lists():
            members = await self._scripts.run([("ZRANGE", name, 0, -1) for name in lists])
            hits = [(name, deleted.intersection(found)) for name, found in zip(lists, members, strict=True)]
            await self._scripts.run([("ZREM", name, *found) for name, found in hits if found])
        item_ids = [name.decode() for name in deleted]
        for start in range(0, len(item_ids), LISTS_PER_CALL):
            await self._remove_counts(item_ids[start : start + LISTS_PER_CALL])
        await self._scripts.run([("ZREMRANGEBYSCORE", self._keys.deleted_items, "-inf", flat[-1])])
        return len(deleted)

    async def _remove_counts(self, item_ids: Sequence[str]) -> None:
        """A fold may have counted a like after the deletion, or the deleting process may have died after the note."""
        if dead := set(item_ids) - await self._known(item_ids):
            lists: list[tuple[Argument, ...]] = [("DEL", self._keys.neighbours(item_id)) for item_id in dead]
            await self._scripts.run([("ZREM", self._keys.popular, *dead), *lists])

    async def _lists(self) -> AsyncIterator[list[str]]:
        """The keys of all lists of neighbours, in groups."""
        names: list[str] = []
        with unavailable():
            async for name in self._scripts.client.scan_iter(match=self._keys.neighbours_pattern, count=1000):
                names.append(name.decode())
                if len(names) == LISTS_PER_CALL:
                    yield names
                    names = []
        yield names
