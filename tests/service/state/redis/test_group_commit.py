"""Concurrent callers share few writes, and each gets its own results."""

import asyncio
from collections.abc import Sequence

import pytest

from service.state.redis.group_commit import GroupCommit


class Writer:
    """Doubles what it is given, once `go` is set; remembers each write."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.writes: list[list[int]] = []
        self.at_once = self.most_at_once = 0
        self.error: Exception | None = None

    async def write(self, values: Sequence[int]) -> list[int]:
        self.writes.append(list(values))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.go.wait()
        self.at_once -= 1
        if self.error:
            raise self.error
        return [2 * value for value in values]

    async def is_writing(self) -> None:
        while not self.at_once:  # noqa: ASYNC110 - as many turns as it takes
            await asyncio.sleep(0)


@pytest.fixture
def writer() -> Writer:
    return Writer()


async def test_values_that_arrive_during_a_write_are_written_next_in_order_of_arrival(writer: Writer) -> None:
    group = GroupCommit(writer.write, max_values=100, max_concurrent=1, timeout_s=60)
    first = asyncio.create_task(group.add([1, -1]))
    await writer.is_writing()
    callers = [first, *(asyncio.create_task(group.add([number, -number])) for number in range(2, 6))]
    await asyncio.sleep(0)
    writer.go.set()
    assert await asyncio.gather(*callers) == [[2 * number, -2 * number] for number in range(1, 6)]
    assert writer.writes == [[1, -1], [2, -2, 3, -3, 4, -4, 5, -5]]


async def test_concurrent_callers_share_a_write(writer: Writer) -> None:
    group = GroupCommit(writer.write, max_values=100, max_concurrent=2, timeout_s=60)
    writer.go.set()
    assert await asyncio.gather(*(group.add([number]) for number in range(5))) == [[0], [2], [4], [6], [8]]
    assert writer.writes == [[0, 1, 2, 3, 4]]


async def test_writes_are_bounded_in_size_and_number(writer: Writer) -> None:
    group = GroupCommit(writer.write, max_values=3, max_concurrent=2, timeout_s=60)
    callers = [asyncio.create_task(group.add(list(range(count)))) for count in (2, 2, 2, 8, 1, 1, 0)]
    while writer.at_once < 2:  # noqa: ASYNC110 - as many turns as it takes
        await asyncio.sleep(0)
    writer.go.set()
    results = await asyncio.gather(*callers)
    assert [len(result) for result in results] == [2, 2, 2, 8, 1, 1, 0]
    assert results[3] == [2 * value for value in range(8)]
    assert max(len(write) for write in writer.writes) == 3
    assert writer.most_at_once == 2


async def test_an_error_reaches_all_callers_of_the_write_and_no_others(writer: Writer) -> None:
    group = GroupCommit(writer.write, max_values=100, max_concurrent=1, timeout_s=60)
    writer.error = OSError("down")
    lonely = asyncio.create_task(group.add([1]))
    await writer.is_writing()
    shared = [asyncio.create_task(group.add([number])) for number in (2, 3)]
    writer.go.set()
    answers = await asyncio.gather(lonely, *shared, return_exceptions=True)
    assert [type(answer) for answer in answers] == [OSError] * 3
    writer.error = None
    assert await group.add([4]) == [8]


async def test_values_of_a_cancelled_caller_are_not_written(writer: Writer) -> None:
    group = GroupCommit(writer.write, max_values=100, max_concurrent=1, timeout_s=60)
    running = asyncio.create_task(group.add([1]))
    await writer.is_writing()
    leaving, staying = (asyncio.create_task(group.add([number])) for number in (2, 3))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.sleep(0)
    writer.go.set()
    assert await running == [2]
    assert await staying == [6]
    assert writer.writes == [[1], [3]]


async def test_values_that_time_out_are_not_written_later(writer: Writer) -> None:
    group = GroupCommit(writer.write, max_values=100, max_concurrent=1, timeout_s=0.05)
    running = asyncio.create_task(group.add([1]))
    await writer.is_writing()
    waiting = asyncio.create_task(group.add([2]))
    for late in (running, waiting):
        with pytest.raises(TimeoutError):
            await late
    writer.go.set()
    assert await group.add([3]) == [6]
    assert writer.writes == [[1], [3]]
