"""Which servers serve a model version: those that the model store names for it, or those of the settings.

Who may write the model store decides which version ranks, with which prompts, and on which of the allowed servers:
users' summaries and recents go there. Servers that the settings neither name nor allow are never asked.
"""

import asyncio
from contextlib import AsyncExitStack

from model_store.engine.listing import served_if_up
from model_store.errors import UserError
from model_store.registry.server_urls import is_allowed
from service.engines import open_listing
from service.settings.engines import RankerSettings


class Unserved(UserError):
    """No server is known for a version; the message says why."""


class VersionServers:
    """
    Args:
        first: the version that the settings named at the start.
    """

    def __init__(self, settings: RankerSettings, first: str) -> None:
        self._settings = settings
        self._first = first
        self._clients = {url: open_listing(settings, url) for url in settings.urls}
        self._served: dict[str, list[str]] = {}

    @property
    def several(self) -> bool:
        """Whether the settings name several servers, which may serve different versions."""
        return len(self._clients) > 1

    async def list(self) -> None:
        """Ask the servers of the settings what they serve; of one that does not answer, the last answer counts."""
        listings = await asyncio.gather(*map(served_if_up, self._clients.values()))
        self._served |= {url: names for url, names in zip(self._clients, listings, strict=True) if names is not None}

    def of(self, version: str, named: tuple[str, ...]) -> tuple[str, ...]:
        """The servers of a version.

        Args:
            named: those that its alias names; none for those of the settings.

        Raises:
            Unserved: there is none, or one that is not allowed.
        """
        settings = self._settings
        if named:
            patterns = (*settings.allowed_urls, *settings.urls)
            if refused := [url for url in named if not is_allowed(url, patterns)]:
                raise Unserved(f"{', '.join(refused)} is not in TASTESTREAM_RANKER__ALLOWED_URLS")
            return named
        if version == self._first and (settings.model or not self._served):
            return tuple(settings.urls)
        if settings.model:
            raise Unserved(f"the servers of the settings serve {settings.model}: promote with --url")
        if not (found := tuple(url for url in settings.urls if version in self._served.get(url, ()))):
            raise Unserved(f"none of {', '.join(client.url for client in self._clients.values())} serves it")
        return found

    async def close(self) -> None:
        async with AsyncExitStack() as stack:
            for client in self._clients.values():
                stack.push_async_callback(client.close)
