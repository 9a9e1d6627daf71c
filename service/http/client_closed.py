"""Work that stops when its caller disconnects."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request

from service.errors import ClientClosedRequest

T = TypeVar("T")


async def unless_closed(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the caller disconnects. The body must have been read.

    Raises:
        ClientClosedRequest: the caller left first.
    """
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_closed(request))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientClosedRequest("the caller left before the answer")
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _closed(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
