"""Run a coroutine for many values, a few at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from model_store.progress import Report, quiet

T = TypeVar("T")
V = TypeVar("V")


async def for_each(
    values: Iterable[V],
    work: Callable[[V], Awaitable[T]],
    max_concurrent: int,
    stage: str = "",
    report: Report = quiet,
) -> list[T]:
    """Return the results of `work` in the order of the values. The first error cancels the rest and is raised."""
    slots = asyncio.Semaphore(max_concurrent)
    todo = list(values)
    done = 0

    async def one(value: V) -> T:
        nonlocal done
        async with slots:
            result = await work(value)
        done += 1
        report(stage, done / len(todo), f"{done} of {len(todo)}")
        return result

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(value)) for value in todo]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]
