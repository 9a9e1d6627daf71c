"""Looking up the hosts of pictures, in threads of its own."""

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from service.errors import BadPicture
from service.pictures.addresses import is_public
from service.pictures.shares import Shares
from service.pictures.urls import Target

_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, socket.EAI_NODATA, socket.EAI_FAMILY})
Lookup = Callable[[bytes, int], Sequence[tuple[Any, ...]]]


def look_up(host: bytes, port: int) -> Sequence[tuple[Any, ...]]:
    """What the system's resolver says of `host`; may take as long as that likes."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


class HostTrouble(BadPicture):
    """A host can't be found or reached, or has trouble of its own; later it may answer."""


class Resolver:
    """Looks names up, a bounded number at a time and of each site.

    A look-up can't be broken off, and a name server that never answers holds it for half a minute. It does so in a
    thread that nothing else needs, neither the event loop's look-ups nor the end of the process.

    Args:
        lookup: replaces the system's resolver in tests.
    """

    def __init__(self, threads: int, per_site: int, *, allow_private: bool, lookup: Lookup = look_up) -> None:
        self._shares = Shares(threads, per_site)
        self._allow_private = allow_private
        self._lookup = lookup

    async def resolve(self, target: Target) -> str:
        """One address to connect to.

        Raises:
            BadPicture: no such host, or one of its addresses is not public.
            HostTrouble: its name server does not answer.
            HostBusy: too many of the site's hosts, or of all, are being looked up.
        """
        if target.is_address:
            addresses = [target.host]
        else:
            addresses = await self._addresses(target)
        if not self._allow_private and not all(is_public(address) for address in addresses):
            raise BadPicture("private_address: the URL leads to an address that is not public")
        return addresses[0]

    async def _addresses(self, target: Target) -> list[str]:
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Sequence[tuple[Any, ...]]] = loop.create_future()
        self._shares.take(target.site)

        def done(settle: Callable[[Any], None], outcome: Any) -> None:
            self._shares.give(target.site)
            if not found.done():
                settle(outcome)

        def look() -> None:
            settled: tuple[Callable[[Any], None], Any]
            try:
                settled = found.set_result, self._lookup(self._name(target), target.port)
            except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
                settled = found.set_exception, error
            # A loop that is closed waits for nothing.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(done, *settled)

        # A daemon: the process may end while a name server is silent.
        threading.Thread(target=look, name="resolve-picture-host", daemon=True).start()
        try:
            entries = await found
        except (OSError, ValueError) as error:
            passing = isinstance(error, OSError) and error.errno not in _NO_SUCH_NAME
            raise (HostTrouble if passing else BadPicture)(f"unresolved: {target.host} has no address") from None
        if not entries:
            raise BadPicture(f"unresolved: {target.host} has no address")
        return [str(entry[4][0]) for entry in entries]

    def _name(self, target: Target) -> bytes:
        """The name to look up; a dot at its end keeps the system from trying it with its own domains behind it."""
        name = target.host
        if not self._allow_private and "." in name:
            name += "."
        return name.encode("ascii")
