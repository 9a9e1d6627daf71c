"""Periodic tasks that one worker of many runs."""

from service.state.keys import LOCK_STEM
from service.state.redis.scripts import Scripts


class Locks:
    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def take(self, task: str, every_s: float) -> bool:
        """Try to become the one worker that runs this task; true for the first who asks in `every_s` seconds.

        The lock is not released: it expires, also when its owner has died.
        """
        (taken,) = await self._scripts.send([("SET", LOCK_STEM + task, 1, "NX", "PX", max(1, round(every_s * 1000)))])
        return bool(taken)
