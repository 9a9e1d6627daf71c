"""One model on several servers: each user has a server of first choice, and another stands in when it fails.

Requests of one user share a long prefix, and a server's prefix cache has it only if the same server is asked again.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from model_store.engine.engine import Engine
from model_store.engine.errors import EngineError, EngineOverloaded, EngineTimeout, EngineUnavailable, WrongScores
from model_store.engine.observer import Observer
from model_store.views import ItemView, UserView

_ASKED = 2
"""Servers that one request asks at most: when all fail, the load no more than doubles."""
_AVOIDED_S = 5.0
"""A failed server is asked last for this time, then by one request that finds out whether it is back."""
_TIMEOUTS = 3
"""So many in a row are a failure. One may be due to a large request, or to a caller's short deadline."""
_ELSEWHERE = (EngineUnavailable, EngineOverloaded, WrongScores)
log = logging.getLogger(__name__)


@dataclass
class _Server:
    engine: Engine
    timeouts: int = 0
    avoided_until: float | None = None


class Replicas:
    """Scores on the servers that serve the same model.

    Rendezvous hashing (Thaler and Ravishankar 1998) gives every user an order of the servers, the same in all
    processes. When a server is added or removed, only the users move whose first choice it is.

    Args:
        engines: one for each server, at least one, with different URLs.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        self.id, self.manifest, self.prompts = engines[0].id, engines[0].manifest, engines[0].prompts
        self._servers = {engine.url: _Server(engine) for engine in engines}

    def order(self, user_id: str) -> list[str]:
        """The URLs of all servers, the user's first choice first."""
        return sorted(self._servers, key=lambda url: blake2b(f"{url}\0{user_id}".encode(), digest_size=8).digest())

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
        for server in first:
            try:
                return await self._ask(server, user, items, until)
            except _ELSEWHERE as error:
                log.info("another server is asked: %s", error)
        return await self._ask(last, user, items, until)

    def observe(self, observer: Observer) -> None:
        """Tell `observer` what further answers say about themselves."""
        for server in self._servers.values():
            server.engine.observe(observer)

    async def healthy(self) -> bool:
        """Whether at least one server works."""
        return any(await asyncio.gather(*(server.engine.healthy() for server in self._servers.values())))

    async def close(self) -> None:
        for server in self._servers.values():
            await server.engine.close()

    def _choose(self, user_id: str) -> list[_Server]:
        """The servers to ask, those that failed last."""
        now = asyncio.get_running_loop().time()
        order = [self._servers[url] for url in self.order(user_id)]
        chosen = sorted(order, key=lambda server: server.avoided_until is not None and now < server.avoided_until)
        if chosen[0].avoided_until is not None:
            # This request finds out whether the server is back; others avoid it until then.
            chosen[0].avoided_until = now + _AVOIDED_S
        return chosen[:_ASKED]

    async def _ask(
        self, server: _Server, user: UserView, items: Sequence[ItemView], until: float
    ) -> list[float | None]:
        left_s = max(0.0, until - asyncio.get_running_loop().time())
        try:
            async with asyncio.timeout_at(until):
                scores = await server.engine.score(user, items, timeout_s=left_s)
        except (TimeoutError, EngineTimeout):
            server.timeouts += 1
            error = EngineTimeout(f"{server.engine.url} did not answer within {left_s:.2f} s")
            if server.timeouts >= _TIMEOUTS:
                _avoid(server, error)
            raise error from None
        except (EngineUnavailable, WrongScores) as error:
            _avoid(server, error)
            raise
        if server.avoided_until is not None:
            log.warning("%s answers again", server.engine.url)
        server.timeouts, server.avoided_until = 0, None
        return scores


def _avoid(server: _Server, error: EngineError) -> None:
    if server.avoided_until is None:
        log.warning("a server is avoided until it answers again: %s", error)
    server.avoided_until = asyncio.get_running_loop().time() + _AVOIDED_S
