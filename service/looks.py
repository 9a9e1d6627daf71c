"""How those are whom the gateway needs, asked once a second at most, however many callers want to know."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, Literal, TypeVar

from prometheus_client import generate_latest

from service.errors import StateUnavailable
from service.metrics import Metrics
from service.recommend.ranker import Server
from service.state.store import Store

T = TypeVar("T")
Condition = Literal["ok", "down", "not_configured"]
_LOOK_S = 2.0
_FRESH_S = 1.0
"""How old a result may be."""


class Shared(Generic[T]):
    """What `look` found, at most `_FRESH_S` ago. Who comes while one looks waits for what that one finds."""

    def __init__(self, look: Callable[[], Awaitable[T]]) -> None:
        self._look = look
        self._task: asyncio.Task[T] | None = None
        self._fresh_until = 0.0

    async def __call__(self) -> T:
        if self._task is None or (self._task.done() and self._is_old()):
            self._task = asyncio.create_task(self._run())
        # One caller that leaves must not take the result from the others.
        return await asyncio.shield(self._task)

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _is_old(self) -> bool:
        return asyncio.get_running_loop().time() >= self._fresh_until

    async def _run(self) -> T:
        found = await self._look()
        self._fresh_until = asyncio.get_running_loop().time() + _FRESH_S
        return found


class Looks:
    """`redis`: does it answer? `ranker`, `summarizer`: the model servers. `metrics`: the page for Prometheus."""

    def __init__(self, store: Store, metrics: Metrics, ranker: Server | None, summarizer: Server | None) -> None:
        self._store = store
        self._metrics = metrics
        self.redis = Shared(self._redis_answers)
        self.ranker = Shared(lambda: _condition(ranker))
        self.summarizer = Shared(lambda: _condition(summarizer))
        self.metrics = Shared(self._page)

    def close(self) -> None:
        for look in (self.redis, self.ranker, self.summarizer, self.metrics):
            look.cancel()

    async def _redis_answers(self) -> bool:
        try:
            async with asyncio.timeout(_LOOK_S):
                await self._store.ping()
        except (StateUnavailable, TimeoutError):
            return False
        return True

    async def _page(self) -> bytes:
        # The gauges of the shared queue: a gateway shows them, too, for workers need have no port of their own.
        try:
            async with asyncio.timeout(_LOOK_S):
                self._metrics.show_waiting(await self._store.waiting())
        except (StateUnavailable, TimeoutError):
            self._metrics.redis_up.set(0)
        return generate_latest(self._metrics.registry)


async def _condition(server: Server | None) -> Condition:
    if server is None:
        return "not_configured"
    try:
        async with asyncio.timeout(_LOOK_S):
            return "ok" if await server.healthy() else "down"
    except TimeoutError:
        return "down"
