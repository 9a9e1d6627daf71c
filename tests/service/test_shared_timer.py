"""Promises of the shared timer: each timeout fires after its own time, not before."""

import asyncio

from service.shared_timer import SharedTimer
from tests.service.serving import until

AFTER_S = 0.1
EARLIER_S = 0.002
"""The event loop's clock has a resolution of milliseconds."""


class Late:
    """The time at which each timeout fired, in order."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}
        self.timer = SharedTimer(AFTER_S, self._see)

    def start(self, one: str) -> float:
        self.timer.start(one)
        return asyncio.get_running_loop().time()

    def _see(self, one: str) -> None:
        self.at[one] = asyncio.get_running_loop().time()


async def some_time_after(moment: float) -> None:
    loop = asyncio.get_running_loop()
    await until(lambda: loop.time() > moment + AFTER_S / 3)


async def test_each_timeout_fires_after_its_own_time() -> None:
    late, started = Late(), dict[str, float]()
    for one in ("first", "second", "third"):
        started[one] = late.start(one)
        await some_time_after(started[one])
    await until(lambda: len(late.at) == 3)
    assert list(late.at) == ["first", "second", "third"]
    assert all(late.at[one] > moment + AFTER_S - EARLIER_S for one, moment in started.items())


async def test_a_stopped_timeout_never_fires_and_a_restarted_one_gets_its_full_time() -> None:
    late = Late()
    for one in ("stopped", "again", "last"):
        moment = late.start(one)
    late.timer.stop("stopped")
    late.timer.stop("unknown")
    await some_time_after(moment)
    late.timer.stop("again")
    moment = late.start("again")
    await until(lambda: len(late.at) == 2)
    assert list(late.at) == ["last", "again"]
    assert late.at["again"] > moment + AFTER_S - EARLIER_S


async def test_it_works_again_after_being_idle() -> None:
    late = Late()
    for one in ("first", "second"):
        late.start(one)
        await until(lambda one=one: one in late.at)  # type: ignore[misc]
