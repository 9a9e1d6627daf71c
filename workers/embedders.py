"""Which versions of an embedder make vectors now, and on which servers."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress

from model_store.engine.client import VllmClient
from model_store.engine.embed import Embedder
from model_store.engine.errors import EngineError
from model_store.engine.listing import served_models
from model_store.errors import UserError
from model_store.registry.registry import Registry
from service.engines import open_embedder
from service.logs import get_logger
from service.settings import Settings
from service.state.embeddings import Embeddings, Pointer
from workers.job import JobUnavailable

log = get_logger(__name__)
_KNOWN_S = 5.0
"""How long a promotion, or a server that comes or goes, may take to be noticed."""
_POINTER_S = 1.0
_LIST_TIMEOUT_S = 2.0


class EmbedderServers:
    """The servers of one embedder: each may serve another version.

    Args:
        settings: those of a tenant, with the URL and the version of an embedder.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings, self._engine = settings, settings.embedder
        key = self._engine.api_key.get_secret_value() if self._engine.api_key else None
        self._clients = {
            url: VllmClient(url, connect_timeout_s=self._engine.connect_timeout_s, max_concurrent_calls=1, api_key=key)
            for url in self._engine.urls
        }
        self._open: dict[tuple[str, str], Embedder] = {}
        self._served: dict[str, list[str]] = {}
        self._wanted = ""
        self._until = float("-inf")
        self._refreshing = asyncio.Lock()

    async def wanted(self) -> str:
        """The version that the settings name, as the model store says now.

        Raises:
            JobUnavailable: the model store can't be read.
        """
        await self._refresh()
        return self._wanted

    def url_of(self, version: str) -> str | None:
        """The server of a version; None if none serves it. A name in the settings is that of the wanted version."""
        name = self._engine.model or version
        if self._engine.model and version != self._wanted:
            return None
        return next((url for url, names in self._served.items() if name in names), None)

    async def opened(self, version: str) -> Embedder | None:
        """The version on its server; None if it has none, or can't be opened."""
        url = self.url_of(version)
        if url is None:
            return None
        if (version, url) not in self._open:
            try:
                opened = await asyncio.to_thread(open_embedder, self._settings, version, url)
            except (OSError, UserError) as error:
                log.error("embedder_not_opened", version=version, error=str(error)[:200])
                return None
            if self._open.setdefault((version, url), opened) is not opened:
                await opened.close()
        return self._open[version, url]

    async def close(self) -> None:
        async with AsyncExitStack() as stack:
            for client in self._clients.values():
                stack.push_async_callback(client.close)
            for embedder in self._open.values():
                stack.push_async_callback(embedder.close)

    async def _refresh(self) -> None:
        async with self._refreshing:
            if time.monotonic() < self._until:
                return
            try:
                self._wanted = await asyncio.to_thread(self._read_wanted)
            except (OSError, UserError) as error:
                raise JobUnavailable(f"the version of the embedder can't be read: {error}") from error
            listings = await asyncio.gather(*map(_listed, self._clients.values()))
            self._served = dict(zip(self._clients, listings, strict=True))
            self._until = time.monotonic() + _KNOWN_S

    def _read_wanted(self) -> str:
        return Registry(self._settings.models_root).get(self._engine.version or "").id


class Versions:
    """The versions that make vectors for one tenant: the wanted one, and that of the index in use.

    Args:
        servers: None for a tenant without an embedder.
    """

    def __init__(self, servers: EmbedderServers | None, embeddings: Embeddings) -> None:
        self._servers, self._embeddings = servers, embeddings
        self._pointer: Pointer | None = None
        self._until = float("-inf")

    async def current(self) -> Sequence[Embedder]:
        """Those that have a server, the wanted one first; none without an embedder.

        Raises:
            JobUnavailable: none has a server, or the model store can't be read.
            StateUnavailable: Redis did not answer.
        """
        if self._servers is None:
            return []
        wanted = await self._servers.wanted()
        if time.monotonic() >= self._until:
            self._pointer = await self._embeddings.pointer()
            self._until = time.monotonic() + _POINTER_S
        names = dict.fromkeys([wanted, self._pointer.current if self._pointer else wanted])
        found = [embedder for name in names if (embedder := await self._servers.opened(name)) is not None]
        if not found:
            raise JobUnavailable(f"no server serves {' or '.join(names)}")
        return found


async def _listed(client: VllmClient) -> list[str]:
    with suppress(EngineError):
        async with client.deadline(_LIST_TIMEOUT_S):
            return await served_models(client)
    return []
