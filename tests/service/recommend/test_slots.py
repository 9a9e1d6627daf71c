"""Who gets a place at the ranker, and who is sent away in time."""

import asyncio

import pytest

from service.recommend.slots import Hopeless, Slots
from tests.service.serving import until

LONG_S = 60.0


def slots(limit: int = 1) -> Slots:
    return Slots(lambda: limit, lambda _: None)


def waiting(places: Slots, count: int) -> list[asyncio.Task[None]]:
    """`count` calls that wait, in this order."""
    return [asyncio.create_task(places.acquire(LONG_S)) for _ in range(count)]


async def test_no_more_than_the_limit_at_the_same_time() -> None:
    limit = 2
    told: list[int] = []
    places = Slots(lambda: limit, told.append)
    tasks = waiting(places, 6)
    await until(lambda: len(places._waiting) == 4)
    assert places.in_flight == 2
    limit = 3
    places.release()
    await until(lambda: sum(task.done() for task in tasks) == 4)
    assert (places.in_flight, max(told)) == (3, 3)
    limit = 1
    places.release()
    await asyncio.sleep(0)
    assert places.in_flight == 2, "a lower limit gives no place until enough are given back"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_few_are_served_in_their_order_and_many_from_the_last() -> None:
    places = slots(2)
    await places.acquire(LONG_S)
    await places.acquire(LONG_S)
    first, second, third, fourth = waiting(places, 4)
    await until(lambda: len(places._waiting) == 4)
    for expected in (fourth, third, first, second):
        places.release()
        await expected
    assert places.in_flight == 2


async def test_one_whose_time_is_too_short_for_a_usual_call_is_sent_away_at_once() -> None:
    places = slots()
    for _ in range(100):
        await places.acquire(LONG_S)
        places.release(1e6)
    await places.acquire(LONG_S)
    async with asyncio.timeout(LONG_S):
        with pytest.raises(Hopeless):
            await places.acquire(0.9e6)
    hopeful = asyncio.create_task(places.acquire(2e6))
    await until(lambda: len(places._waiting) == 1)
    places.release()
    await hopeful


async def test_a_free_place_is_given_however_short_the_time_is() -> None:
    places = slots()
    for _ in range(100):
        await places.acquire(LONG_S)
        places.release(10.0)
    await places.acquire(0.001)
    assert places.in_flight == 1


async def test_one_that_waits_is_sent_away_when_its_time_runs_out() -> None:
    places = slots()
    await places.acquire(LONG_S)
    with pytest.raises(Hopeless):
        await places.acquire(0.01)
    assert not places._waiting
    places.release()
    await places.acquire(LONG_S)


async def test_a_caller_that_leaves_gives_its_place_to_the_next() -> None:
    places = slots()
    await places.acquire(LONG_S)
    leaving, staying = waiting(places, 2)
    await until(lambda: len(places._waiting) == 2)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    places.release()
    await staying
    (leaving,) = waiting(places, 1)
    await until(lambda: len(places._waiting) == 1)
    places.release()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert places.in_flight == 0, "its turn had come in the same moment"
