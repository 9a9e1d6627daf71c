"""One model on several servers: each user has a server of first choice, and another stands in when it fails.

Requests of one user share a long prefix, and a server's prefix cache has it only if the same server is asked again.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from hashlib import blake2b

from model_store.engine.engine import Engine
from model_store.engine.errors import CircuitOpen, EngineOverloaded, EngineUnavailable, WrongScores
from model_store.engine.observer import Observer
from model_store.views import ItemView, UserView

_ASKED = 2
"""Servers that one request asks at most: when all fail, the load no more than doubles."""
_ELSEWHERE = (EngineUnavailable, EngineOverloaded, WrongScores)
log = logging.getLogger(__name__)


class Replicas:
    """Scores on the servers that serve the same model.

    Rendezvous hashing (Thaler and Ravishankar 1998) gives every user an order of the servers, the same in all
    processes. When a server is added or removed, only the users move whose first choice it is.

    Args:
        engines: one for each server, at least one, with different URLs and one budget of retries.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        self.id, self.manifest, self.prompts = engines[0].id, engines[0].manifest, engines[0].prompts
        self.way = engines[0].way
        self._retries = engines[0].retries
        self._engines = {engine.url: engine for engine in engines}

    @property
    def urls(self) -> list[str]:
        """The servers, without user names and passwords."""
        return list(self._engines)

    def order(self, user_id: str) -> list[str]:
        """The URLs of all servers, the user's first choice first."""
        return sorted(self._engines, key=lambda url: blake2b(f"{url}\0{user_id}".encode(), digest_size=8).digest())

    async def score(
        self, user_id: str, user: UserView, items: Sequence[ItemView], *, timeout_s: float
    ) -> list[float | None]:
        """As `Engine.score`, on the user's first choice, or on the next server if that one is down or sheds load.

        Args:
            timeout_s: for everything, the second server included.

        Raises:
            EngineError: as `Engine.score`, of the last server that was asked. EngineTimeout: no scores in time.
        """
        until = asyncio.get_running_loop().time() + timeout_s
        *first, last = self._choose(user_id)
        for engine in first:
            try:
                return await _ask(engine, user, items, until)
            except _ELSEWHERE as error:
                # One that was not asked was no load: the next server is asked for the first time.
                if not isinstance(error, CircuitOpen) and not self._retries.take():
                    raise
                log.info("another server is asked: %s", error)
        return await _ask(last, user, items, until)

    def observe(self, observer: Observer) -> None:
        """Tell `observer` what further answers say about themselves, and how breakers and budget stand."""
        for engine in self._engines.values():
            engine.observe(observer)

    async def check(self) -> None:
        """Check that at least one server works.

        Raises:
            EngineError: none does; of the first one.
        """
        checks = await asyncio.gather(*(engine.check() for engine in self._engines.values()), return_exceptions=True)
        failures = [one for one in checks if one is not None]
        if len(failures) == len(checks):
            raise failures[0]

    async def healthy(self) -> bool:
        """Whether at least one server works."""
        return any(await asyncio.gather(*(engine.healthy() for engine in self._engines.values())))

    async def close(self) -> None:
        async with AsyncExitStack() as stack:
            for engine in self._engines.values():
                stack.push_async_callback(engine.close)

    def _choose(self, user_id: str) -> list[Engine]:
        """The servers to ask, those with an open breaker last."""
        order = [self._engines[url] for url in self.order(user_id)]
        return sorted(order, key=lambda engine: engine.breaker.wait_s() > 0)[:_ASKED]


async def _ask(engine: Engine, user: UserView, items: Sequence[ItemView], until: float) -> list[float | None]:
    return await engine.score(user, items, timeout_s=max(0.0, until - asyncio.get_running_loop().time()))
