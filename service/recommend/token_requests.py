"""Asks workers for the soft tokens that rankings lacked, after the requests are answered."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress

from cachetools import TTLCache

from service.errors import StateUnavailable
from service.state.queues import Derivations
from service.state.records import Item

_REMEMBERED = 10_000
AGAIN_S = 300.0
"""An item is asked for again after this time."""
_AT_ONCE = 200


class TokenRequests:
    """Queues items that were ranked without the soft tokens of their picture: a promoted version has none at first.

    A worker queues new and changed pictures anyway, so this is best effort: what comes while a request to the store is
    running, or is more than it takes, is asked for when it is ranked again.
    """

    def __init__(self, queue: Derivations) -> None:
        self._queue = queue
        self._asked: TTLCache[tuple[str, str], bool] = TTLCache(_REMEMBERED, AGAIN_S)
        self._task: asyncio.Task[None] | None = None

    def ask(self, encoder: str, awaited: Iterable[Item], lost: Iterable[Item]) -> None:
        """Ask for the tokens of `awaited` items, which have none of this encoder, and of those that `lost` theirs."""
        if self._task is not None and not self._task.done():
            return
        gone = {item.item_id for item in lost}
        wanted = [item for item in (*(item.item_id for item in awaited), *gone) if (encoder, item) not in self._asked]
        if wanted := wanted[:_AT_ONCE]:
            self._asked.update(dict.fromkeys(((encoder, item) for item in wanted), True))
            self._task = asyncio.create_task(self._send(encoder, wanted, gone))

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _send(self, encoder: str, wanted: list[str], gone: set[str]) -> None:
        with suppress(StateUnavailable):
            await self._queue.request(wanted, encoder, gone)
