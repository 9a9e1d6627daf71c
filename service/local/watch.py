"""Watch the processes that `tastestream up` started: whoever waits for their work must not wait for the dead."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import TypeVar

from rich.console import Console
from rich.markup import escape

from model_store.serving.processes import Child

_POLL_S = 0.5
T = TypeVar("T")


async def unless_one_ends(children: Sequence[Child], work: Coroutine[object, object, T]) -> T:
    """The result of `work`, which is cancelled as soon as one of `children` ends. Those not started yet count as alive.

    Raises:
        ChildFailed: one ended before `work` did, or `work` failed because of it.
    """
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            _check(children)
            await asyncio.wait({task}, timeout=_POLL_S)
        if task.exception() is not None:
            # The connections of a process that dies break before its parent hears of its end.
            await asyncio.sleep(_POLL_S)
            _check(children)
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def watch(children: Sequence[Child], servers: Sequence[Child], console: Console) -> None:
    """Wait until one of `children` ends. The end of a model server is only reported: answers are degraded without it.

    Raises:
        ChildFailed: one of `children` ended.
    """
    reported = set[str]()
    while True:
        await asyncio.sleep(_POLL_S)
        _check(children)
        for server in servers:
            if server.ended() and server.name not in reported:
                reported.add(server.name)
                console.print(f"[yellow]{escape(server.exit_report())}[/]", soft_wrap=True)
                console.print("answers are degraded until it is back")


async def watch_child(child: Child) -> None:
    """Wait until `child` ends, which raises ChildFailed."""
    while True:
        await asyncio.sleep(_POLL_S)
        child.check()


def _check(children: Sequence[Child]) -> None:
    for child in children:
        child.check()
