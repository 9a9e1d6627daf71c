"""Removing what was counted about deleted items.

A deleted item's own list names most items whose lists name it, and leaves those at once. It does
not name all: lists are bounded, and a rare item keeps a popular one that has long dropped it. So a
note keeps the item's counts void until a sweep has been through every list.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from service.state.keys import DELETED_ITEMS, NEIGHBOURS_PATTERN, NEW, POPULAR, neighbours
from service.state.redis.client import Argument
from service.state.redis.scripts import Scripts, unavailable

NOTES = 100_000
"""Deleted items that are remembered until the next sweep; of more, the oldest are dropped."""
LISTS_AT_ONCE = 100


async def note(scripts: Scripts, item_id: str) -> None:
    """Void the item's counts until the next sweep."""
    await scripts.send(
        [
            ("ZADD", DELETED_ITEMS, time.time_ns() // 1_000_000, item_id),
            ("ZREMRANGEBYRANK", DELETED_ITEMS, 0, -NOTES - 1),
        ]
    )


async def clear(scripts: Scripts, item_id: str) -> None:
    """Remove the item's list, its popularity, and its name from the lists that its own one names."""
    (near,) = await scripts.send([("ZRANGE", neighbours(item_id), 0, -1)])
    commands: list[tuple[Argument, ...]] = [("ZREM", neighbours(other.decode()), item_id) for other in near]
    await scripts.send([*commands, ("DEL", neighbours(item_id)), ("ZREM", POPULAR, item_id), ("ZREM", NEW, item_id)])


class DeletedItems:
    """Args: `known` returns those of some items that are in the catalogue."""

    def __init__(self, scripts: Scripts, known: Callable[[Sequence[str]], Awaitable[frozenset[str]]]) -> None:
        self._scripts = scripts
        self._known = known

    async def sweep(self) -> int:
        """Remove every noted item from every list, then the notes; returns how many there were.

        An item that was put again meanwhile starts with no neighbours. One that is deleted during
        the sweep is left to the next.
        """
        (flat,) = await self._scripts.send([("ZRANGE", DELETED_ITEMS, 0, -1, "WITHSCORES")])
        if not flat:
            return 0
        gone = frozenset(flat[::2])
        async for lists in self._lists():
            members = await self._scripts.send([("ZRANGE", name, 0, -1) for name in lists])
            hits = [(name, gone.intersection(found)) for name, found in zip(lists, members, strict=True)]
            await self._scripts.send([("ZREM", name, *found) for name, found in hits if found])
        item_ids = [name.decode() for name in gone]
        for start in range(0, len(item_ids), LISTS_AT_ONCE):
            await self._unlike(item_ids[start : start + LISTS_AT_ONCE])
        await self._scripts.send([("ZREMRANGEBYSCORE", DELETED_ITEMS, "-inf", flat[-1])])
        return len(gone)

    async def _unlike(self, item_ids: Sequence[str]) -> None:
        """A fold may have counted a like after the deletion, or the deleting process may have died after its note."""
        if dead := set(item_ids) - await self._known(item_ids):
            lists: list[tuple[Argument, ...]] = [("DEL", neighbours(item_id)) for item_id in dead]
            await self._scripts.send([("ZREM", POPULAR, *dead), *lists])

    async def _lists(self) -> AsyncIterator[list[str]]:
        """The names of all lists of neighbours, some at a time."""
        names: list[str] = []
        with unavailable():
            async for name in self._scripts.client.scan_iter(match=NEIGHBOURS_PATTERN, count=1000):
                names.append(name.decode())
                if len(names) == LISTS_AT_ONCE:
                    yield names
                    names = []
        yield names
