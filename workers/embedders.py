"""Which versions of an embedder make vectors now, and on which servers."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import NamedTuple

from model_store.engine.client import VllmClient
from model_store.engine.embed import Embedder
from model_store.engine.listing import served_if_up
from model_store.errors import UserError
from model_store.registry.aliases import PRODUCTION, servers_named
from model_store.registry.registry import Registry
from model_store.registry.server_urls import is_allowed
from service.engines import open_embedder, open_listing
from service.logs import get_logger
from service.metrics import Metrics
from service.settings import Settings
from service.state.embeddings import Embeddings, Pointer
from workers.job import JobUnavailable

log = get_logger(__name__)
_KNOWN_S = 5.0
"""How long a promotion, or a server that comes or goes, may take to be noticed."""
_POINTER_S = 1.0
_UNUSED_S = 60.0
"""A version that was not wanted for this time is not in use. Its breaker, which no call closes any more, is no news."""


class Place(NamedTuple):
    """A server, and the name under which it serves a version."""

    url: str
    name: str


class EmbedderServers:
    """The servers of one embedder: each may serve another version.

    A version is asked on the servers that its promotion names, and while none of them serves it, on those of the
    settings. Servers that the settings neither name nor allow are never asked: items go there, and the API key.

    Args:
        settings: those of a tenant, with the URL and the version of an embedder.
        metrics: shows the embedders that are in use, each on the server that was found last.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings, self._engine, self._metrics = settings, settings.embedder, metrics
        self._clients: dict[str, VllmClient] = {}
        self._served: dict[str, tuple[float, list[str]]] = {}
        self._open: dict[tuple[str, Place], Embedder] = {}
        self._shown: dict[str, Embedder] = {}
        self._wanted_at: dict[str, float] = {}
        self._waiting: dict[str, str] = {}
        self._wanted = ""
        self._named: Mapping[str, tuple[str, ...]] = {}
        self._until = float("-inf")
        self._refreshing = asyncio.Lock()

    async def wanted(self) -> str:
        """The version that the settings name, as the model store says now.

        Raises:
            JobUnavailable: the model store can't be read.
        """
        async with self._refreshing:
            if time.monotonic() >= self._until:
                try:
                    self._wanted, self._named = await asyncio.to_thread(self._read)
                except (OSError, UserError) as error:
                    raise JobUnavailable(f"the version of the embedder can't be read: {error}") from error
                self._until = time.monotonic() + _KNOWN_S
        return self._wanted

    async def place_of(self, version: str) -> Place | None:
        """The first server that serves a version; None if none does, for the reason that `why_waiting` gives then.

        Raises:
            JobUnavailable: the model store can't be read.
        """
        places, refused = self._places(version, await self.wanted())
        async with self._refreshing:
            served = await asyncio.gather(*(self._names(place.url) for place in places))
        for place, names in zip(places, served, strict=True):
            if place.name in names:
                self._waiting.pop(version, None)
                return place
        if refused:
            why = f"{', '.join(refused)} is not in TASTESTREAM_EMBEDDER__ALLOWED_URLS"
        elif places:
            why = f"none of {', '.join(place.url for place in places)} serves it"
        else:
            why = f"the servers of the settings serve {self._engine.model}: promote with --url"
        if self._waiting.get(version) != why:
            log.warning("embedder_waits", version=version, why=why)
        self._waiting[version] = why
        return None

    def why_waiting(self, version: str) -> str:
        """Why a version had no server when it was last looked for."""
        return self._waiting.get(version, "it can't be opened")

    async def opened(self, version: str) -> Embedder | None:
        """The version on its server; None if it has none, or can't be opened.

        Raises:
            JobUnavailable: the model store can't be read.
        """
        self._wanted_at[version] = time.monotonic()
        self._forget_unused()
        place = await self.place_of(version)
        if place is None:
            return None
        if (version, place) not in self._open:
            try:
                opened = await asyncio.to_thread(open_embedder, self._settings, version, *place)
            except (OSError, UserError) as error:
                log.error("embedder_not_opened", version=version, error=str(error)[:200])
                return None
            if self._open.setdefault((version, place), opened) is not opened:
                await opened.close()
        self._show(version, self._open[version, place])
        return self._open[version, place]

    async def close(self) -> None:
        async with AsyncExitStack() as stack:
            for client in self._clients.values():
                stack.push_async_callback(client.close)
            for embedder in self._open.values():
                stack.push_async_callback(embedder.close)

    def _show(self, version: str, embedder: Embedder) -> None:
        if self._shown.get(version) is not embedder:
            self._forget(version)
            self._metrics.watch_engine(embedder, "embedder", "embed")
            self._shown[version] = embedder

    def _forget(self, version: str) -> None:
        if version in self._shown:
            self._metrics.forget_engine(self._shown.pop(version), "embedder")

    def _forget_unused(self) -> None:
        now = time.monotonic()
        for version in [name for name, at in self._wanted_at.items() if now - at > _UNUSED_S]:
            del self._wanted_at[version]
            self._forget(version)

    def _read(self) -> tuple[str, Mapping[str, tuple[str, ...]]]:
        """The wanted version, and the servers that promotions name; none for a fixed number."""
        registry, reference = Registry(self._settings.models_root), self._engine.version or ""
        name, _, which = reference.partition("@")
        named = {} if which.isdecimal() else servers_named(registry.histories(name), which or PRODUCTION)
        return registry.get(reference).id, {f"{name}@{number}": urls for number, urls in named.items()}

    def _places(self, version: str, wanted: str) -> tuple[list[Place], list[str]]:
        """Where a version may be served, and the servers that its promotion names and the settings don't allow.

        A name in the settings is that of the wanted version, on their own servers.
        """
        engine = self._engine
        patterns = (*engine.allowed_urls, *engine.urls)
        named = self._named.get(version, ())
        allowed = [url for url in named if is_allowed(url, patterns)]
        places = [Place(url, version) for url in allowed]
        if engine.model is None or version == wanted:
            places += [Place(url, engine.model or version) for url in engine.urls]
        return list(dict.fromkeys(places)), [url for url in named if url not in allowed]

    async def _names(self, url: str) -> Sequence[str]:
        """The names that a server serves, known for some seconds; none while it does not answer."""
        until, names = self._served.get(url, (float("-inf"), []))
        if time.monotonic() < until:
            return names
        if url not in self._clients:
            self._clients[url] = open_listing(self._engine, url)
        names = await served_if_up(self._clients[url]) or []
        self._served[url] = (time.monotonic() + _KNOWN_S, names)
        return names


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
            raise JobUnavailable("; ".join(f"{name}: {self._servers.why_waiting(name)}" for name in names))
        return found
