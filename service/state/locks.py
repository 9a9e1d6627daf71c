"""Locks of periodic tasks that only one of many workers runs."""

from service.state.keys import Keys
from service.state.redis.scripts import Scripts


class Locks:
    def __init__(self, scripts: Scripts, keys: Keys) -> None:
        self._scripts = scripts
        self._keys = keys

    async def take(self, task: str, every_s: float) -> bool:
        """Try to become the one worker that runs this task; True for the first caller in `every_s` seconds.

        The lock is never released: it expires, even if its owner dies.
        """
        milliseconds = max(1, round(every_s * 1000))
        (taken,) = await self._scripts.run([("SET", self._keys.lock(task), 1, "NX", "PX", milliseconds)])
        return bool(taken)

    async def hold(self, task: str, for_s: float) -> None:
        """Let nobody else run the task for `for_s` seconds from now; for the owner of its lock."""
        await self._scripts.run([("SET", self._keys.lock(task), 1, "PX", max(1, round(for_s * 1000)))])
