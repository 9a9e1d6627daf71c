"""Chores that one worker of many does now and then."""

from service.state.keys import TURN_STEM
from service.state.redis.scripts import Scripts


class Turns:
    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def take(self, chore: str, every_s: float) -> bool:
        """Whether it is the caller's turn: true for the first who asks, then for nobody in `every_s` seconds.

        A turn is not given back: when its worker dies, the next one comes in its time.
        """
        (taken,) = await self._scripts.send([("SET", TURN_STEM + chore, 1, "NX", "PX", max(1, round(every_s * 1000)))])
        return bool(taken)
