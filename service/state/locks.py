"""Locks of periodic tasks that only one of many workers runs."""

from service.state.keys import Keys
from service.state.redis.scripts import Call, Scripts


class Locks:
    def __init__(self, scripts: Scripts, keys: Keys) -> None:
        self._scripts = scripts
        self._keys = keys

    async def take(self, task: str, every_s: float) -> bool:
        """Try to become the one worker that runs this task; True for the first caller in `every_s` seconds.

        The lock is never released: it expires, even if its owner dies.
        """
        (taken,) = await self._scripts.run([("SET", self._keys.lock(task), 1, "NX", "PX", _milliseconds(every_s))])
        return bool(taken)

    async def hold(self, task: str, for_s: float) -> None:
        """Let nobody else run the task for `for_s` seconds from now; for the owner of its lock."""
        await self._scripts.run([("SET", self._keys.lock(task), 1, "PX", _milliseconds(for_s))])

    async def claim(self, task: str, owner: str, for_s: float) -> bool:
        """Take the lock of a task, or keep it, for `for_s` seconds from now. False if another owner has it."""
        return await self._claim(task, owner, _milliseconds(for_s))

    async def give_back(self, task: str, owner: str) -> None:
        """Let another owner take the lock at once, if this one has it."""
        await self._claim(task, owner, 0)

    async def _claim(self, task: str, owner: str, milliseconds: int) -> bool:
        (claimed,) = await self._scripts.run([Call("lock_claim", (self._keys.lock(task),), (owner, milliseconds))])
        return bool(claimed)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
